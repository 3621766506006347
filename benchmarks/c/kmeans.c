/* Newton's step of k-means: the slope and the curvature of the squared distances from the nearest centres. Blocks of points, by coordinate. */
#include <math.h>
#include <string.h>

enum { B = 64, MOST_D = 16, MOST_K = 32 };

void kmeans(long k, long d, long n, const double *restrict centres, const double *restrict points, double *restrict after)
{
    double slope[MOST_K][MOST_D], curvature[MOST_K];
    memset(slope, 0, sizeof slope);
    memset(curvature, 0, sizeof curvature);
    for (long first = 0; first < n; first += B) {
        long size = n - first < B ? n - first : B;
        double x[MOST_D][B], best[B];
        long nearest[B];
        for (long i = 0; i < d; i++)
            for (long b = 0; b < B; b++)
                x[i][b] = points[(first + (b < size ? b : 0)) * d + i];
        for (int b = 0; b < B; b++) {
            best[b] = INFINITY;
            nearest[b] = 0;
        }
        for (long m = 0; m < k; m++) {
            double squares[B] = {0.0};
            for (long i = 0; i < d; i++)
                for (int b = 0; b < B; b++) {
                    double away = x[i][b] - centres[m * d + i];
                    squares[b] += away * away;
                }
            for (int b = 0; b < B; b++) {
                nearest[b] = squares[b] < best[b] ? m : nearest[b];
                best[b] = squares[b] < best[b] ? squares[b] : best[b];
            }
        }
        for (long b = 0; b < size; b++) {
            long m = nearest[b];
            curvature[m] += 2.0;
            for (long i = 0; i < d; i++)
                slope[m][i] += 2.0 * (centres[m * d + i] - points[(first + b) * d + i]);
        }
    }
    for (long m = 0; m < k; m++)
        for (long i = 0; i < d; i++)
            after[m * d + i] = centres[m * d + i] - slope[m][i] / curvature[m];
}
