/* Leapfrog steps of stars under softened gravity, and the gradient of the sum of squares of where they end; the places of each step are kept. */
#include <math.h>
#include <string.h>

enum { MOST = 256, MOST_STEPS = 64 };
typedef double places[3][MOST];

static void accelerate(long n, const places x, const double *restrict m, places v)
{
    for (long i = 0; i < n; i++) {
        double a = 0.0, b = 0.0, c = 0.0;
        for (long j = 0; j < n; j++) {
            double dx = x[0][j] - x[0][i], dy = x[1][j] - x[1][i], dz = x[2][j] - x[2][i];
            double s = dx * dx + dy * dy + dz * dz + 0.01, u = m[j] / (s * sqrt(s));
            a += u * dx, b += u * dy, c += u * dz;
        }
        v[0][i] += 0.01 * a, v[1][i] += 0.01 * b, v[2][i] += 0.01 * c;
    }
}

/* x_bar += the cotangent of the places, where a_bar is 0.01 v_bar. */
static void accelerate_back(long n, const places x, const double *restrict m, const places v_bar, places x_bar)
{
    for (long i = 0; i < n; i++) {
        double a = 0.01 * v_bar[0][i], b = 0.01 * v_bar[1][i], c = 0.01 * v_bar[2][i], gx = 0.0, gy = 0.0, gz = 0.0;
        for (long j = 0; j < n; j++) {
            double dx = x[0][j] - x[0][i], dy = x[1][j] - x[1][i], dz = x[2][j] - x[2][i];
            double over = 1.0 / (dx * dx + dy * dy + dz * dz + 0.01), u = m[j] * over * sqrt(over);
            double w = 3.0 * u * over * (a * dx + b * dy + c * dz);
            double px = u * a - w * dx, py = u * b - w * dy, pz = u * c - w * dz;
            x_bar[0][j] += px, x_bar[1][j] += py, x_bar[2][j] += pz;
            gx += px, gy += py, gz += pz;
        }
        x_bar[0][i] -= gx, x_bar[1][i] -= gy, x_bar[2][i] -= gz;
    }
}

void nbody(long n, long steps, const double *positions, const double *velocities, const double *masses, double *positions_bar,
           double *velocities_bar)
{
    static places x, v, x_bar, v_bar, kept[MOST_STEPS];
    for (long i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            x[c][i] = positions[i * 3 + c], v[c][i] = velocities[i * 3 + c];
    for (long t = 0; t < steps; t++) {
        for (int c = 0; c < 3; c++)
            for (long i = 0; i < n; i++)
                kept[t][c][i] = x[c][i] += 0.005 * v[c][i];
        accelerate(n, x, masses, v);
        for (int c = 0; c < 3; c++)
            for (long i = 0; i < n; i++)
                x[c][i] += 0.005 * v[c][i];
    }
    for (int c = 0; c < 3; c++)
        for (long i = 0; i < n; i++)
            x_bar[c][i] = 2.0 * x[c][i], v_bar[c][i] = 0.0;
    for (long t = steps - 1; t >= 0; t--) {
        for (int c = 0; c < 3; c++)
            for (long i = 0; i < n; i++)
                v_bar[c][i] += 0.005 * x_bar[c][i];
        accelerate_back(n, kept[t], masses, v_bar, x_bar);
        for (int c = 0; c < 3; c++)
            for (long i = 0; i < n; i++)
                v_bar[c][i] += 0.005 * x_bar[c][i];
    }
    for (long i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            positions_bar[i * 3 + c] = x_bar[c][i], velocities_bar[i * 3 + c] = v_bar[c][i];
}
