/* Gradients of elementwise functions: one pass, nothing stored but the answer. */
#include <math.h>

enum { B = 512 };

/* The sines have a loop of their own: gcc would make one `sincos` of a sine and a cosine, which has no vector variant. */
void waves(long n, const double *restrict x, double *restrict x_bar)
{
    double sine[B];
    for (long first = 0; first < n; first += B) {
        long size = n - first < B ? n - first : B;
        for (long i = 0; i < size; i++)
            sine[i] = sin(x[first + i]);
        for (long i = 0; i < size; i++) {
            double v = x[first + i], t = tanh(v);
            x_bar[first + i] = exp(-v * v) * (cos(v) - 2.0 * v * sine[i]) + 1.0 - t * t;
        }
    }
}

void axpy_chain(long n, const double *restrict x, double *restrict x_bar)
{
    for (long i = 0; i < n; i++) {
        double v = x[i], y = v, sum = 0.0;
        for (int k = 0; k < 6; k++)
            y = y * (1.0 + 0.1 * k) + v;
        double y_bar = 2.0 * y;
        for (int k = 5; k >= 0; k--) {
            sum += y_bar;
            y_bar *= 1.0 + 0.1 * k;
        }
        x_bar[i] = sum + y_bar;
    }
}

/* The gradient of the logarithm of the sum of exponentials of one long row. */
void logsumexp(long n, const double *restrict x, double *restrict x_bar)
{
    double top = x[0], sum = 0.0;
    for (long i = 0; i < n; i++)
        top = x[i] > top ? x[i] : top;
    for (long i = 0; i < n; i++) {
        double e = exp(x[i] - top);
        x_bar[i] = e;
        sum += e;
    }
    for (long i = 0; i < n; i++)
        x_bar[i] *= 1.0 / sum;
}
