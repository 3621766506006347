/* Bundle adjustment: blocks of sightings are gathered, go forward and back number by number, and are added to their cameras and points. */
#include <math.h>
#include <string.h>

enum { B = 64, CAMERA = 11 };

void bundle(long cameras, long points, long n, const double *restrict camera, const double *restrict point, const long *restrict which_camera,
            const long *restrict which_point, const double *restrict seen, double *restrict camera_bar, double *restrict point_bar)
{
    double c[CAMERA][B], p[3][B], s[2][B], c_bar[CAMERA][B], p_bar[3][B], angle[B], sine[B], cosine[B];
    memset(camera_bar, 0, cameras * CAMERA * sizeof(double));
    memset(point_bar, 0, points * 3 * sizeof(double));
    for (long first = 0; first < n; first += B) {
        long size = n - first < B ? n - first : B;
        for (long b = 0; b < B; b++) {
            long at = first + (b < size ? b : 0);
            for (int i = 0; i < CAMERA; i++)
                c[i][b] = camera[which_camera[at] * CAMERA + i];
            for (int i = 0; i < 3; i++)
                p[i][b] = point[which_point[at] * 3 + i];
            s[0][b] = seen[at * 2], s[1][b] = seen[at * 2 + 1];
        }
        for (int b = 0; b < B; b++) {
            angle[b] = sqrt(c[0][b] * c[0][b] + c[1][b] * c[1][b] + c[2][b] * c[2][b]);
            sine[b] = sin(angle[b]);
        }
        for (int b = 0; b < B; b++)
            cosine[b] = cos(angle[b]);
        for (int b = 0; b < B; b++) {
            double over = 1.0 / angle[b], co = cosine[b], si = sine[b], rest = 1.0 - co;
            double ax = c[0][b] * over, ay = c[1][b] * over, az = c[2][b] * over;
            double qx = p[0][b] - c[3][b], qy = p[1][b] - c[4][b], qz = p[2][b] - c[5][b];
            double nx = ay * qz - az * qy, ny = az * qx - ax * qz, nz = ax * qy - ay * qx;
            double along = ax * qx + ay * qy + az * qz;
            double lx = qx * co + nx * si + ax * along * rest, ly = qy * co + ny * si + ay * along * rest;
            double lz = qz * co + nz * si + az * along * rest, depth = 1.0 / lz;
            double u = lx * depth, v = ly * depth, r = u * u + v * v, k1 = c[9][b], k2 = c[10][b], f = c[6][b];
            double m = 1.0 + k1 * r + k2 * r * r;
            double eu = 2.0 * (f * u * m + c[7][b] - s[0][b]), ev = 2.0 * (f * v * m + c[8][b] - s[1][b]);
            double m_bar = f * (eu * u + ev * v), r_bar = m_bar * (k1 + 2.0 * k2 * r);
            double u_bar = f * eu * m + 2.0 * r_bar * u, v_bar = f * ev * m + 2.0 * r_bar * v;
            c_bar[6][b] = m * (eu * u + ev * v);
            c_bar[7][b] = eu, c_bar[8][b] = ev;
            c_bar[9][b] = m_bar * r, c_bar[10][b] = m_bar * r * r;
            double gx = u_bar * depth, gy = v_bar * depth, gz = -(u_bar * u + v_bar * v) * depth;
            double ag = ax * gx + ay * gy + az * gz, gq = gx * qx + gy * qy + gz * qz, gn = gx * nx + gy * ny + gz * nz;
            double qx_bar = co * gx + si * (gy * az - gz * ay) + rest * ag * ax;
            double qy_bar = co * gy + si * (gz * ax - gx * az) + rest * ag * ay;
            double qz_bar = co * gz + si * (gx * ay - gy * ax) + rest * ag * az;
            double ax_bar = si * (qy * gz - qz * gy) + rest * (along * gx + ag * qx);
            double ay_bar = si * (qz * gx - qx * gz) + rest * (along * gy + ag * qy);
            double az_bar = si * (qx * gy - qy * gx) + rest * (along * gz + ag * qz);
            double angle_bar = -si * gq + co * gn + si * ag * along, radial = ax * ax_bar + ay * ay_bar + az * az_bar;
            c_bar[0][b] = (ax_bar - ax * radial) * over + ax * angle_bar;
            c_bar[1][b] = (ay_bar - ay * radial) * over + ay * angle_bar;
            c_bar[2][b] = (az_bar - az * radial) * over + az * angle_bar;
            p_bar[0][b] = qx_bar, p_bar[1][b] = qy_bar, p_bar[2][b] = qz_bar;
            c_bar[3][b] = -qx_bar, c_bar[4][b] = -qy_bar, c_bar[5][b] = -qz_bar;
        }
        for (long b = 0; b < size; b++) {
            for (int i = 0; i < CAMERA; i++)
                camera_bar[which_camera[first + b] * CAMERA + i] += c_bar[i][b];
            for (int i = 0; i < 3; i++)
                point_bar[which_point[first + b] * 3 + i] += p_bar[i][b];
        }
    }
}
