/* What memory and the vector library can do. */
#include <math.h>

#define ALL(function)                                                        \
    void all_##function(long n, const double *restrict x, double *restrict y) \
    {                                                                        \
        for (long i = 0; i < n; i++)                                         \
            y[i] = function(x[i]);                                           \
    }

ALL(exp)
ALL(log)
ALL(sin)
ALL(tanh)

void copy(long n, const double *restrict x, double *restrict y)
{
    for (long i = 0; i < n; i++)
        y[i] = x[i];
}
