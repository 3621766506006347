/* The forward algorithm of a hidden Markov model in logarithms, and its gradient; the exponentials of each step are kept for the way back. */
#include <math.h>
#include <string.h>

enum { S = 32, MOST_STEPS = 256 };

void hmm(long steps, const double *restrict transitions, const double *restrict start, const double *restrict emissions,
         double *restrict transitions_bar, double *restrict start_bar, double *restrict emissions_bar)
{
    static double kept[MOST_STEPS][S][S], over[MOST_STEPS][S];
    double a[S], a_bar[S], top[S], sum[S];
    for (int j = 0; j < S; j++)
        a[j] = start[j] + emissions[j];
    for (long t = 1; t < steps; t++) {
        for (int j = 0; j < S; j++)
            top[j] = a[0] + transitions[j];
        for (int i = 1; i < S; i++)
            for (int j = 0; j < S; j++) {
                double v = a[i] + transitions[i * S + j];
                top[j] = v > top[j] ? v : top[j];
            }
        memset(sum, 0, sizeof sum);
        for (int i = 0; i < S; i++)
            for (int j = 0; j < S; j++) {
                double e = exp(a[i] + transitions[i * S + j] - top[j]);
                kept[t][i][j] = e;
                sum[j] += e;
            }
        for (int j = 0; j < S; j++) {
            over[t][j] = 1.0 / sum[j];
            a[j] = log(sum[j]) + top[j] + emissions[t * S + j];
        }
    }
    double most = a[0], total = 0.0;
    for (int j = 1; j < S; j++)
        most = a[j] > most ? a[j] : most;
    for (int j = 0; j < S; j++)
        total += a_bar[j] = exp(a[j] - most);
    for (int j = 0; j < S; j++)
        a_bar[j] /= total;
    memset(transitions_bar, 0, S * S * sizeof(double));
    for (long t = steps - 1; t >= 1; t--) {
        double weight[S];
        for (int j = 0; j < S; j++) {
            emissions_bar[t * S + j] = a_bar[j];
            weight[j] = a_bar[j] * over[t][j];
        }
        for (int i = 0; i < S; i++) {
            double s = 0.0;
            for (int j = 0; j < S; j++) {
                double p = kept[t][i][j] * weight[j];
                transitions_bar[i * S + j] += p;
                s += p;
            }
            a_bar[i] = s;
        }
    }
    for (int j = 0; j < S; j++)
        start_bar[j] = emissions_bar[j] = a_bar[j];
}
