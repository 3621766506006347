/* ADBench's Gaussian mixture. Blocks of points, coordinate by coordinate, are turned by every component's matrix; what was turned is kept for the
   way back, where it still is in the second-level cache. The gradient by the means needs only the sum over points. */
#include <math.h>
#include <string.h>

enum { B = 64, MOST_D = 20, MOST_K = 50 };

void gmm(long d, long k, long n, const double *restrict weights, const double *restrict means, const double *restrict logs,
         const double *restrict lower, const double *restrict points, double *restrict weights_bar, double *restrict means_bar,
         double *restrict logs_bar, double *restrict lower_bar)
{
    static double turned[MOST_K][MOST_D][B], terms[MOST_K][B], x[MOST_D][B], c[MOST_D][B], q[MOST_K][MOST_D];
    static double sums[MOST_K][MOST_D], offset[MOST_K];
    long below = d * (d - 1) / 2;
    for (long m = 0; m < k; m++) {
        offset[m] = weights[m];
        for (long i = 0; i < d; i++) {
            q[m][i] = exp(logs[m * d + i]);
            offset[m] += logs[m * d + i];
        }
    }
    memset(sums, 0, sizeof sums);
    memset(weights_bar, 0, k * sizeof(double));
    memset(logs_bar, 0, k * d * sizeof(double));
    memset(lower_bar, 0, k * below * sizeof(double));
    for (long first = 0; first < n; first += B) {
        long size = n - first < B ? n - first : B;
        double top[B], sum[B];
        for (long i = 0; i < d; i++)
            for (long b = 0; b < B; b++)
                x[i][b] = points[(first + (b < size ? b : 0)) * d + i];
        for (int b = 0; b < B; b++) {
            top[b] = -INFINITY;
            sum[b] = 0.0;
        }
        for (long m = 0; m < k; m++) {
            const double *l = lower + m * below;
            double squares[B] = {0.0};
            for (long i = 0; i < d; i++)
                for (int b = 0; b < B; b++)
                    c[i][b] = x[i][b] - means[m * d + i];
            for (long i = 0; i < d; l += i, i++) {
                double t[B];
                for (int b = 0; b < B; b++)
                    t[b] = q[m][i] * c[i][b];
                for (long j = 0; j < i; j++)
                    for (int b = 0; b < B; b++)
                        t[b] += l[j] * c[j][b];
                for (int b = 0; b < B; b++) {
                    turned[m][i][b] = t[b];
                    squares[b] += t[b] * t[b];
                }
            }
            for (int b = 0; b < B; b++) {
                double v = offset[m] - 0.5 * squares[b];
                terms[m][b] = v;
                top[b] = v > top[b] ? v : top[b];
            }
        }
        for (long m = 0; m < k; m++)
            for (int b = 0; b < B; b++) {
                double e = exp(terms[m][b] - top[b]);
                terms[m][b] = e;
                sum[b] += e;
            }
        for (int b = 0; b < B; b++)
            sum[b] = b < size ? 1.0 / sum[b] : 0.0;
        for (long m = 0; m < k; m++) {
            double *l_bar = lower_bar + m * below, share = 0.0;
            for (int b = 0; b < B; b++)
                share += terms[m][b] *= sum[b];
            weights_bar[m] += share;
            for (long i = 0; i < d; i++)
                for (int b = 0; b < B; b++)
                    c[i][b] = x[i][b] - means[m * d + i];
            for (long i = 0; i < d; l_bar += i, i++) {
                double t[B], s = 0.0, s_diagonal = 0.0;
                for (int b = 0; b < B; b++) {
                    t[b] = -terms[m][b] * turned[m][i][b];
                    s += t[b];
                    s_diagonal += t[b] * c[i][b];
                }
                sums[m][i] += s;
                logs_bar[m * d + i] += s_diagonal;
                for (long j = 0; j < i; j++) {
                    double product = 0.0;
                    for (int b = 0; b < B; b++)
                        product += t[b] * c[j][b];
                    l_bar[j] += product;
                }
            }
        }
    }
    double most = weights[0], total = 0.0;
    for (long m = 1; m < k; m++)
        most = weights[m] > most ? weights[m] : most;
    for (long m = 0; m < k; m++)
        total += exp(weights[m] - most);
    for (long m = 0; m < k; m++) {
        const double *l = lower + m * below;
        for (long i = 0; i < d; i++)
            means_bar[m * d + i] = -q[m][i] * sums[m][i];
        for (long i = 0; i < d; l += i, i++) {
            for (long j = 0; j < i; j++)
                means_bar[m * d + j] -= l[j] * sums[m][i];
            logs_bar[m * d + i] = logs_bar[m * d + i] * q[m][i] + weights_bar[m] - q[m][i] * q[m][i] + 1.0;
        }
        for (long j = 0; j < below; j++)
            lower_bar[m * below + j] -= lower[m * below + j];
        weights_bar[m] -= n * exp(weights[m] - most) / total;
    }
}
