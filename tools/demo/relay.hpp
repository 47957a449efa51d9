// A TCP relay that can become a partition: the network between two hosts, on one machine and without root.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "common/units.hpp"

namespace understudy::tools {

// Accepts connections on a port of its own and forwards each to the target, both ways, on a thread of its own: what the
// rest of the program does never delays what passes. The members may be called from any thread, one at a time.
class Relay {
  public:
    struct Line {
        std::chrono::milliseconds delay{0};  // each way, as over a distance, however much it is
        Bytes per_second{0};                 // each way; 0: as fast as it goes
    };

    // `target` is "127.0.0.1:PORT". Throws understudy::Error.
    explicit Relay(const std::string& target, Line line);
    explicit Relay(const std::string& target) : Relay(target, Line{}) {}
    ~Relay();
    Relay(const Relay&) = delete;
    Relay& operator=(const Relay&) = delete;

    // "127.0.0.1:PORT", where to connect to.
    [[nodiscard]] std::string address() const;

    // From now on nothing is forwarded, as if every packet were lost: connections stay open and silent.
    void stall();
    // From now on every connection is broken at once, the present ones and those to come.
    void cut();

    [[nodiscard]] std::uint64_t bytes_forwarded() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace understudy::tools
