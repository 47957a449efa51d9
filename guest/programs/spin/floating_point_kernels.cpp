#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "guest/programs/spin/kernels.hpp"

namespace understudy::spin {
namespace {

// A vectorized inner loop.
std::uint64_t run_matrix(std::uint64_t seed) {
    constexpr std::size_t kSize = 192;
    std::vector<float> a(kSize * kSize);
    std::vector<float> b(kSize * kSize);
    std::vector<float> c(kSize * kSize);
    Random random(seed);
    for (std::size_t i = 0; i < a.size(); ++i) {
        a[i] = static_cast<float>(random.next() % 1024) / 512.0F;
        b[i] = static_cast<float>(random.next() % 1024) / 256.0F;
    }
    for (std::size_t i = 0; i < kSize; ++i) {
        for (std::size_t k = 0; k < kSize; ++k) {
            const float factor = a[i * kSize + k];
            for (std::size_t j = 0; j < kSize; ++j) {
                c[i * kSize + j] += factor * b[k * kSize + j];
            }
        }
    }
    std::uint64_t sum = 0;
    for (const float value : c) {
        sum = mix(sum, std::bit_cast<std::uint32_t>(value));
    }
    return sum;
}

// Divisions and square roots in small fixed loops.
struct Body {
    std::array<double, 3> place;
    std::array<double, 3> speed;
    double mass;
};

std::uint64_t run_bodies(std::uint64_t seed) {
    std::array<Body, 6> bodies{};
    Random random(seed);
    for (Body& body : bodies) {
        for (std::size_t axis = 0; axis < 3; ++axis) {
            body.place[axis] = static_cast<double>(random.next() % 1000) / 10.0;
            body.speed[axis] = static_cast<double>(random.next() % 1000) / 1000.0;
        }
        body.mass = 1.0 + static_cast<double>(random.next() % 10);
    }
    constexpr double kStep = 0.001;
    for (int step = 0; step < 10'000; ++step) {
        for (std::size_t i = 0; i < bodies.size(); ++i) {
            for (std::size_t j = i + 1; j < bodies.size(); ++j) {
                std::array<double, 3> apart{};
                double square = 0.01;
                for (std::size_t axis = 0; axis < 3; ++axis) {
                    apart[axis] = bodies[i].place[axis] - bodies[j].place[axis];
                    square += apart[axis] * apart[axis];
                }
                const double pull = kStep / (square * std::sqrt(square));
                for (std::size_t axis = 0; axis < 3; ++axis) {
                    bodies[i].speed[axis] -= apart[axis] * bodies[j].mass * pull;
                    bodies[j].speed[axis] += apart[axis] * bodies[i].mass * pull;
                }
            }
        }
        for (Body& body : bodies) {
            for (std::size_t axis = 0; axis < 3; ++axis) {
                body.place[axis] += kStep * body.speed[axis];
            }
        }
    }
    std::uint64_t sum = 0;
    for (const Body& body : bodies) {
        for (const double coordinate : body.place) {
            sum = mix(sum, std::bit_cast<std::uint64_t>(coordinate));
        }
    }
    return sum;
}

// A scalar loop whose end depends on the data.
std::uint64_t run_mandelbrot(std::uint64_t seed) {
    constexpr int kWidth = 160;
    constexpr int kMost = 200;
    const double shift = static_cast<double>(seed % 16) / 1000.0;
    std::uint64_t sum = 0;
    for (int row = 0; row < kWidth; ++row) {
        for (int column = 0; column < kWidth; ++column) {
            const double cx = -2.0 + shift + 3.0 * column / kWidth;
            const double cy = -1.5 + 3.0 * row / kWidth;
            double x = 0;
            double y = 0;
            int steps = 0;
            while (steps < kMost && x * x + y * y < 4.0) {
                const double next = x * x - y * y + cx;
                y = 2 * x * y + cy;
                x = next;
                ++steps;
            }
            sum = mix(sum, static_cast<std::uint64_t>(steps));
        }
    }
    return sum;
}

constexpr std::array kKernels{
    Kernel{"matrix", "a vectorized product of matrices", run_matrix},
    Kernel{"bodies", "divisions and square roots", run_bodies},
    Kernel{"mandelbrot", "scalar loops of unknown length", run_mandelbrot},
};

}  // namespace

std::span<const Kernel> floating_point_kernels() {
    return kKernels;
}

}  // namespace understudy::spin
