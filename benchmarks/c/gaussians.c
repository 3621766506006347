/* Log densities under Gaussians with covariances F F^T + 1, eight at a time, one in each lane: Cholesky, substitution, and the adjoint of both. */
#include <math.h>
#include <string.h>

enum { D = 8, LANES = 8 };
typedef double lanes __attribute__((vector_size(64)));

static inline lanes root(lanes x)
{
    lanes y;
    for (int v = 0; v < LANES; v++)
        y[v] = sqrt(x[v]);
    return y;
}

void gaussians(long n, const double *restrict factors, const double *restrict points, double *restrict factors_bar, double *restrict points_bar)
{
    for (long first = 0; first < n; first += LANES) {
        lanes f[D][D], l[D][D], l_bar[D][D], y[D], y_bar[D], over[D];
        for (int i = 0; i < D; i++) {
            for (int v = 0; v < LANES; v++)
                y[i][v] = points[(first + v) * D + i];
            for (int j = 0; j < D; j++)
                for (int v = 0; v < LANES; v++)
                    f[i][j][v] = factors[((first + v) * D + i) * D + j];
        }
        for (int i = 0; i < D; i++)
            for (int j = 0; j <= i; j++) {
                lanes s = f[i][0] * f[j][0];
                for (int m = 1; m < D; m++)
                    s += f[i][m] * f[j][m];
                l[i][j] = i == j ? s + 1.0 : s;
            }
        for (int i = 0; i < D; i++) {
            for (int j = 0; j < i; j++) {
                for (int m = 0; m < j; m++)
                    l[i][j] -= l[i][m] * l[j][m];
                l[i][j] *= over[j];
            }
            for (int m = 0; m < i; m++)
                l[i][i] -= l[i][m] * l[i][m];
            l[i][i] = root(l[i][i]);
            over[i] = 1.0 / l[i][i];
            for (int j = 0; j < i; j++)
                y[i] -= l[i][j] * y[j];
            y[i] *= over[i];
        }
        /* f = -sum y^2 / 2 - sum log l_ii; then the steps above from last to first */
        for (int i = 0; i < D; i++) {
            y_bar[i] = -y[i];
            for (int j = 0; j <= i; j++)
                l_bar[i][j] = y[i] * 0.0;
        }
        for (int i = D - 1; i >= 0; i--) {
            lanes r = y_bar[i] * over[i];
            y_bar[i] = r;
            for (int j = 0; j < i; j++) {
                y_bar[j] -= r * l[i][j];
                l_bar[i][j] -= r * y[j];
            }
            l_bar[i][i] -= over[i] + r * y[i];
            l_bar[i][i] *= 0.5 * over[i];
            for (int m = 0; m < i; m++)
                l_bar[i][m] -= 2.0 * l_bar[i][i] * l[i][m];
            for (int j = i - 1; j >= 0; j--) {
                l_bar[i][j] *= over[j];
                l_bar[j][j] -= l_bar[i][j] * l[i][j];
                for (int m = 0; m < j; m++) {
                    l_bar[i][m] -= l_bar[i][j] * l[j][m];
                    l_bar[j][m] -= l_bar[i][j] * l[i][m];
                }
            }
        }
        for (int i = 0; i < D; i++) {
            for (int v = 0; v < LANES; v++)
                points_bar[(first + v) * D + i] = y_bar[i][v];
            for (int m = 0; m < D; m++) {
                lanes s = 2.0 * l_bar[i][i] * f[i][m];
                for (int j = 0; j < i; j++)
                    s += l_bar[i][j] * f[j][m];
                for (int j = i + 1; j < D; j++)
                    s += l_bar[j][i] * f[j][m];
                for (int v = 0; v < LANES; v++)
                    factors_bar[((first + v) * D + i) * D + m] = s[v];
            }
        }
    }
}
