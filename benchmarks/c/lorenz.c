/* Runge-Kutta steps on the Lorenz attractor; the gradient of the sum of the coordinates of where they end. */
enum { MOST_STEPS = 1000 };
static const double H = 0.01;

static inline void velocity(const double *s, double *k)
{
    k[0] = 10.0 * (s[1] - s[0]);
    k[1] = s[0] * (28.0 - s[2]) - s[1];
    k[2] = s[0] * s[1] - 8.0 / 3.0 * s[2];
}

/* J(s)^T w */
static inline void pulled(const double *s, const double *w, double *g)
{
    g[0] = -10.0 * w[0] + (28.0 - s[2]) * w[1] + s[1] * w[2];
    g[1] = 10.0 * w[0] - w[1] + s[0] * w[2];
    g[2] = -s[0] * w[1] - 8.0 / 3.0 * w[2];
}

/* One step from p[0]; p[1], p[2] and p[3] are where the other slopes are taken. */
static inline void step(double p[4][3], double *after)
{
    double k[4][3];
    velocity(p[0], k[0]);
    for (int m = 1; m < 4; m++) {
        for (int c = 0; c < 3; c++)
            p[m][c] = p[0][c] + (m == 3 ? H : H / 2) * k[m - 1][c];
        velocity(p[m], k[m]);
    }
    for (int c = 0; c < 3; c++)
        after[c] = p[0][c] + H / 6 * (k[0][c] + 2.0 * k[1][c] + 2.0 * k[2][c] + k[3][c]);
}

void lorenz_value(long steps, const double *state, double *end)
{
    double p[4][3], s[3] = {state[0], state[1], state[2]};
    for (long t = 0; t < steps; t++) {
        for (int c = 0; c < 3; c++)
            p[0][c] = s[c];
        step(p, s);
    }
    for (int c = 0; c < 3; c++)
        end[c] = s[c];
}

void lorenz_gradient(long steps, const double *state, double *state_bar)
{
    static double p[MOST_STEPS + 1][4][3];
    double l[3] = {1.0, 1.0, 1.0};
    for (int c = 0; c < 3; c++)
        p[0][0][c] = state[c];
    for (long t = 0; t < steps; t++)
        step(p[t], p[t + 1][0]);
    for (long t = steps - 1; t >= 0; t--) {
        double k[3], g[4][3];
        for (int c = 0; c < 3; c++)
            k[c] = H / 6 * l[c];
        pulled(p[t][3], k, g[3]);
        for (int m = 2; m >= 0; m--) {
            for (int c = 0; c < 3; c++)
                k[c] = (m ? H / 3 : H / 6) * l[c] + (m == 2 ? H : H / 2) * g[m + 1][c];
            pulled(p[t][m], k, g[m]);
        }
        for (int c = 0; c < 3; c++)
            l[c] += g[0][c] + g[1][c] + g[2][c] + g[3][c];
    }
    for (int c = 0; c < 3; c++)
        state_bar[c] = l[c];
}
