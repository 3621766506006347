/* ADBench's recurrent network with diagonal weights: rows of 14 numbers, padded to 16; everything that the way back needs is kept. */
#include <math.h>
#include <string.h>

enum { N = 14, P = 16, LAYERS = 2, MOST_STEPS = 1024 };
struct kept {
    double x[P], h[P], c[P], forget[P], in[P], out[P], candidate[P], squashed[P];
};

static void padded(const double *from, double *to)
{
    memset(to, 0, P * sizeof(double));
    memcpy(to, from, N * sizeof(double));
}

void lstm(long signs, const double *gates, const double *ends, const double *state, const double *text, double *gates_bar, double *ends_bar)
{
    static struct kept all[MOST_STEPS][LAYERS];
    static double last[MOST_STEPS][P], wrong[MOST_STEPS][P];
    double w[LAYERS][2][4][P], w_bar[LAYERS][2][4][P], e[3][P], e_bar[3][P], h[LAYERS][P], c[LAYERS][P], x[P];
    memset(w_bar, 0, sizeof w_bar);
    memset(e_bar, 0, sizeof e_bar);
    for (int m = 0; m < 3; m++)
        padded(ends + m * N, e[m]);
    for (int k = 0; k < LAYERS; k++) {
        for (int m = 0; m < 8; m++)
            padded(gates + (k * 8 + m) * N, w[k][m / 4][m % 4]);
        padded(state + (k * 2) * N, h[k]);
        padded(state + (k * 2 + 1) * N, c[k]);
    }
    double scale = -1.0 / ((signs - 1) * N);
    for (long t = 0; t < signs - 1; t++) {
        padded(text + t * N, x);
        for (int v = 0; v < P; v++)
            x[v] *= e[0][v];
        for (int k = 0; k < LAYERS; k++) {
            struct kept *s = &all[t][k];
            for (int v = 0; v < P; v++) {
                double f = 1.0 / (1.0 + exp(-(x[v] * w[k][0][0][v] + w[k][1][0][v])));
                double i = 1.0 / (1.0 + exp(-(h[k][v] * w[k][0][1][v] + w[k][1][1][v])));
                double o = 1.0 / (1.0 + exp(-(x[v] * w[k][0][2][v] + w[k][1][2][v])));
                double g = tanh(h[k][v] * w[k][0][3][v] + w[k][1][3][v]);
                double after = c[k][v] * f + i * g, squashed = tanh(after);
                s->x[v] = x[v], s->h[v] = h[k][v], s->c[v] = c[k][v];
                s->forget[v] = f, s->in[v] = i, s->out[v] = o, s->candidate[v] = g, s->squashed[v] = squashed;
                c[k][v] = after;
                h[k][v] = x[v] = o * squashed;
            }
        }
        double exponentials[P], target[P], sum = 2.0, weight = 0.0;
        padded(text + (t + 1) * N, target);
        for (int v = 0; v < P; v++) {
            last[t][v] = x[v];
            exponentials[v] = v < N ? exp(x[v] * e[1][v] + e[2][v]) : 0.0;
            sum += exponentials[v];
            weight += target[v];
        }
        for (int v = 0; v < P; v++)
            wrong[t][v] = scale * (target[v] - weight * exponentials[v] / sum);
    }
    double h_bar[LAYERS][P] = {{0.0}}, c_bar[LAYERS][P] = {{0.0}}, x_bar[P], sign[P];
    for (long t = signs - 2; t >= 0; t--) {
        for (int v = 0; v < P; v++) {
            e_bar[1][v] += wrong[t][v] * last[t][v];
            e_bar[2][v] += wrong[t][v];
            x_bar[v] = wrong[t][v] * e[1][v];
        }
        for (int k = LAYERS - 1; k >= 0; k--) {
            const struct kept *s = &all[t][k];
            for (int v = 0; v < P; v++) {
                double y_bar = x_bar[v] + h_bar[k][v];
                double after_bar = c_bar[k][v] + y_bar * s->out[v] * (1.0 - s->squashed[v] * s->squashed[v]);
                double f = after_bar * s->c[v] * s->forget[v] * (1.0 - s->forget[v]);
                double i = after_bar * s->candidate[v] * s->in[v] * (1.0 - s->in[v]);
                double o = y_bar * s->squashed[v] * s->out[v] * (1.0 - s->out[v]);
                double g = after_bar * s->in[v] * (1.0 - s->candidate[v] * s->candidate[v]);
                c_bar[k][v] = after_bar * s->forget[v];
                w_bar[k][0][0][v] += f * s->x[v], w_bar[k][1][0][v] += f;
                w_bar[k][0][1][v] += i * s->h[v], w_bar[k][1][1][v] += i;
                w_bar[k][0][2][v] += o * s->x[v], w_bar[k][1][2][v] += o;
                w_bar[k][0][3][v] += g * s->h[v], w_bar[k][1][3][v] += g;
                h_bar[k][v] = i * w[k][0][1][v] + g * w[k][0][3][v];
                x_bar[v] = f * w[k][0][0][v] + o * w[k][0][2][v];
            }
        }
        padded(text + t * N, sign);
        for (int v = 0; v < P; v++)
            e_bar[0][v] += x_bar[v] * sign[v];
    }
    for (int m = 0; m < 3; m++)
        memcpy(ends_bar + m * N, e_bar[m], N * sizeof(double));
    for (int k = 0; k < LAYERS; k++)
        for (int m = 0; m < 8; m++)
            memcpy(gates_bar + (k * 8 + m) * N, w_bar[k][m / 4][m % 4], N * sizeof(double));
}
