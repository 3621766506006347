/* Gradients of functions of rows, in single precision: a row stays in the first-level cache between its passes. */
#include <math.h>

/* e = exp(x - max x) into `e`; returns the sum. */
static float exponentials(long n, const float *restrict x, float *restrict e)
{
    float top = x[0], sum = 0.0f;
    for (long i = 0; i < n; i++)
        top = x[i] > top ? x[i] : top;
    for (long i = 0; i < n; i++) {
        float v = expf(x[i] - top);
        e[i] = v;
        sum += v;
    }
    return sum;
}

/* f = sum p^2 with p = softmax x, so x_bar = 2 p (p - sum p^2). */
void softmax(long rows, long n, const float *restrict x, float *restrict x_bar)
{
    for (long r = 0; r < rows; r++, x += n, x_bar += n) {
        float scale = 1.0f / exponentials(n, x, x_bar), squares = 0.0f;
        for (long i = 0; i < n; i++)
            squares += x_bar[i] * x_bar[i];
        squares *= scale * scale;
        for (long i = 0; i < n; i++) {
            float p = x_bar[i] * scale;
            x_bar[i] = 2.0f * p * (p - squares);
        }
    }
}

void logsumexp_rows(long rows, long n, const float *restrict x, float *restrict x_bar)
{
    for (long r = 0; r < rows; r++, x += n, x_bar += n) {
        float scale = 1.0f / exponentials(n, x, x_bar);
        for (long i = 0; i < n; i++)
            x_bar[i] *= scale;
    }
}

/* f = sum z^3 with z = c / sqrt(mean c^2 + eps), c = x - mean x: c_bar = r (3 z^2 - z mean(3 z^3)), x_bar = c_bar - mean c_bar. */
void layernorm(long rows, long n, const float *restrict x, float *restrict x_bar)
{
    for (long r = 0; r < rows; r++, x += n, x_bar += n) {
        float sum = 0.0f, squares = 0.0f, cubes = 0.0f;
        for (long i = 0; i < n; i++)
            sum += x[i];
        float mean = sum / n;
        for (long i = 0; i < n; i++) {
            float c = x[i] - mean;
            squares += c * c;
            cubes += c * c * c;
        }
        /* the mean of z is zero, and that of z^2 is squares * scale^2 / n */
        float scale = 1.0f / sqrtf(squares / n + 1e-5f), skew = 3.0f * cubes / n * scale * scale * scale;
        float middle = 3.0f * squares / n * scale * scale;
        for (long i = 0; i < n; i++) {
            float z = (x[i] - mean) * scale;
            x_bar[i] = scale * (3.0f * z * z - z * skew - middle);
        }
    }
}
