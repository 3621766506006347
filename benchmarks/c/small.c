/* Least squares, a determinant by minors and Jacobians. */
#include <math.h>
#include <string.h>

enum { MOST_TERMS = 128, MOST_N = 8, MOST_NUMBERS = 64 };

/* The exponents are data, so each power is one of `pow`. */
void least_squares(long terms, long places, const double *restrict coefficients, const double *restrict place, const double *restrict exponents,
                   const double *restrict values, double *restrict coefficients_bar)
{
    double power[MOST_TERMS];
    memset(coefficients_bar, 0, terms * sizeof(double));
    for (long i = 0; i < places; i++) {
        double x = place[i], sum = 0.0;
        for (long j = 0; j < terms; j++) {
            power[j] = pow(x, exponents[j]);
            sum += power[j] * coefficients[j];
        }
        double wrong = sum - values[i];
        for (long j = 0; j < terms; j++)
            coefficients_bar[j] += wrong * power[j];
    }
}

/* minor[set] is that of the last rows, as many as the set of columns has; each is made once. */
void determinant(long n, const double *restrict matrix, double *restrict matrix_bar)
{
    double minor[1 << MOST_N], minor_bar[1 << MOST_N];
    int sets = 1 << n;
    minor[0] = 1.0;
    for (int set = 1; set < sets; set++) {
        const double *row = matrix + (n - __builtin_popcount(set)) * n;
        double sum = 0.0, sign = 1.0;
        for (int left = set; left; left &= left - 1, sign = -sign)
            sum += sign * row[__builtin_ctz(left)] * minor[set & ~(left & -left)];
        minor[set] = sum;
        minor_bar[set] = 0.0;
    }
    memset(matrix_bar, 0, n * n * sizeof(double));
    minor_bar[sets - 1] = 1.0;
    for (int set = sets - 1; set > 0; set--) {
        long at = (n - __builtin_popcount(set)) * n;
        double sign = minor_bar[set];
        for (int left = set; left; left &= left - 1, sign = -sign) {
            int column = __builtin_ctz(left), rest = set & ~(left & -left);
            matrix_bar[at + column] += sign * minor[rest];
            minor_bar[rest] += sign * matrix[at + column];
        }
    }
}

/* y[i] = sin(x[i]) x[i-1] + exp(-x[i+1]^2): the tangents of all y along the columns of the identity. */
void jacobian_forward(long n, const double *restrict x, double *restrict jacobian)
{
    double own[MOST_NUMBERS], before[MOST_NUMBERS], after[MOST_NUMBERS];
    for (long i = 0; i < n; i++) {
        own[i] = cos(x[i]), before[i] = sin(x[i]), after[i] = -2.0 * x[i] * exp(-x[i] * x[i]);
    }
    for (long i = 0; i < n; i++) {
        long left = i ? i - 1 : n - 1, right = i < n - 1 ? i + 1 : 0;
        double a = own[i] * x[left], b = before[i], c = after[right];
        for (long k = 0; k < n; k++)
            jacobian[i * n + k] = a * (k == i) + b * (k == left) + c * (k == right);
    }
}

/* The same from cotangents, the rows of the identity. */
void jacobian_reverse(long n, const double *restrict x, double *restrict jacobian)
{
    double own[MOST_NUMBERS], before[MOST_NUMBERS], after[MOST_NUMBERS];
    for (long i = 0; i < n; i++) {
        long left = i ? i - 1 : n - 1, right = i < n - 1 ? i + 1 : 0;
        own[i] = cos(x[i]) * x[left], before[i] = sin(x[right]), after[i] = -2.0 * x[i] * exp(-x[i] * x[i]);
    }
    for (long k = 0; k < n; k++)
        for (long i = 0; i < n; i++) {
            long left = i ? i - 1 : n - 1, right = i < n - 1 ? i + 1 : 0;
            jacobian[k * n + i] = own[i] * (k == i) + before[i] * (k == right) + after[i] * (k == left);
        }
}
