// Waiting for what an io_context brings, in tests.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>

namespace understudy::arbiter::testing {

// Runs `io` until `holds()`; false after ten seconds without.
template <typename Condition>
[[nodiscard]] bool run_until(boost::asio::io_context& io, Condition holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        io.restart();
        io.run_one_for(std::chrono::milliseconds(10));
    }
    return true;
}

}  // namespace understudy::arbiter::testing
