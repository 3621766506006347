/* A hand of chains of bones, each turned against the one before: forward along a chain, back along it. */
#include <math.h>
#include <string.h>

enum { MOST_BONES = 8 };
typedef double matrix[3][3];

/* The rotation by three Euler angles, and its derivatives by each. */
static void rotation(const double *angles, matrix r, matrix by[3])
{
    double cx = cos(angles[0]), cy = cos(angles[1]), cz = cos(angles[2]), sx = sin(angles[0]), sy = sin(angles[1]), sz = sin(angles[2]);
    matrix turned = {{cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz},
                     {cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz},
                     {-sy, sx * cy, cx * cy}};
    matrix x = {{0, cx * sy * cz + sx * sz, cx * sz - sx * sy * cz},
                {0, cx * sy * sz - sx * cz, -sx * sy * sz - cx * cz},
                {0, cx * cy, -sx * cy}};
    matrix y = {{-sy * cz, sx * cy * cz, cx * cy * cz}, {-sy * sz, sx * cy * sz, cx * cy * sz}, {-cy, -sx * sy, -cx * sy}};
    matrix z = {{-cy * sz, -sx * sy * sz - cx * cz, sx * cz - cx * sy * sz},
                {cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz},
                {0, 0, 0}};
    memcpy(r, turned, sizeof(matrix));
    memcpy(by[0], x, sizeof(matrix));
    memcpy(by[1], y, sizeof(matrix));
    memcpy(by[2], z, sizeof(matrix));
}

void hand(long fingers, long bones, long n, const double *angles, const double *bone, const double *skin, const double *seen,
          double *angles_bar, double *bone_bar)
{
    for (long f = 0; f < fingers; f++) {
        matrix turn[MOST_BONES], own[MOST_BONES], by[MOST_BONES][3], turn_bar[MOST_BONES], below_bar = {{0.0}};
        double place[MOST_BONES][3], place_bar[MOST_BONES][3], under[3] = {0.0};
        for (long j = 0; j < bones; j++) {
            long at = f * bones + j;
            rotation(angles + at * 3, own[j], by[j]);
            for (int r = 0; r < 3; r++) {
                place[j][r] = j ? place[j - 1][r] : bone[at * 3 + r];
                for (int c = 0; c < 3; c++) {
                    turn[j][r][c] = j ? 0.0 : own[j][r][c];
                    if (j)
                        place[j][r] += turn[j - 1][r][c] * bone[at * 3 + c];
                    for (int m = 0; j && m < 3; m++)
                        turn[j][r][c] += turn[j - 1][r][m] * own[j][m][c];
                }
            }
            double t[3][3] = {{0.0}}, s[3] = {0.0};
            for (long i = 0; i < n; i++) {
                const double *p = skin + (at * n + i) * 3, *q = seen + (at * n + i) * 3;
                for (int r = 0; r < 3; r++) {
                    double e = 2.0 * (turn[j][r][0] * p[0] + turn[j][r][1] * p[1] + turn[j][r][2] * p[2] + place[j][r] - q[r]);
                    t[r][0] += e * p[0], t[r][1] += e * p[1], t[r][2] += e * p[2], s[r] += e;
                }
            }
            memcpy(turn_bar[j], t, sizeof t);
            memcpy(place_bar[j], s, sizeof s);
        }
        for (long j = bones - 1; j >= 0; j--) {
            long at = f * bones + j;
            matrix own_bar, next = {{0.0}};
            for (int r = 0; r < 3; r++) {
                place_bar[j][r] += under[r];
                for (int c = 0; c < 3; c++)
                    turn_bar[j][r][c] += below_bar[r][c];
            }
            for (int r = 0; r < 3; r++) {
                double b = j ? 0.0 : place_bar[j][r];
                for (int c = 0; c < 3; c++) {
                    own_bar[r][c] = j ? 0.0 : turn_bar[j][r][c];
                    for (int m = 0; j && m < 3; m++) {
                        next[r][c] += turn_bar[j][r][m] * own[j][c][m];
                        own_bar[r][c] += turn[j - 1][m][r] * turn_bar[j][m][c];
                    }
                    if (j) {
                        next[r][c] += place_bar[j][r] * bone[at * 3 + c];
                        b += turn[j - 1][c][r] * place_bar[j][c];
                    }
                }
                bone_bar[at * 3 + r] = b;
            }
            for (int a = 0; a < 3; a++) {
                double sum = 0.0;
                for (int r = 0; r < 3; r++)
                    for (int c = 0; c < 3; c++)
                        sum += own_bar[r][c] * by[j][a][r][c];
                angles_bar[at * 3 + a] = sum;
            }
            memcpy(below_bar, next, sizeof next);
            memcpy(under, place_bar[j], sizeof under);
        }
    }
}
