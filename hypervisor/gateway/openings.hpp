// The connections that the host's side opens and the guest has not answered yet.
//
// What the guest has no room for at that moment (its receive buffers, the listening program's queue, no program that
// listens yet), it drops, and libslirp sends a SYN again only after 6 s, then 12, then 24. So the gateway holds new
// connections back while this many wait for the guest, each in the queue of the host's listening socket, and repeats
// the SYNs of those that wait.
//
// Pure: no socket, no clock. Not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>

#include "common/ethernet.hpp"
#include "hypervisor/gateway/packet.hpp"

namespace understudy::network {

class Openings {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kMaxPerPort = 64;                  // of the guest
    static constexpr std::chrono::milliseconds kFirstPause{50};     // then twice that, and so on,
    static constexpr std::chrono::milliseconds kLongestPause{800};  // up to this
    static constexpr std::chrono::milliseconds kPatience{75'000};   // libslirp's own, for a connection to open

    // A frame for the guest: does it open a connection?
    void to_guest(std::span<const std::byte> frame, Clock::time_point now);
    // A frame from the guest: does it answer one?
    void from_guest(std::span<const std::byte> frame);

    // Whether another connection to this port of the guest may be opened now.
    [[nodiscard]] bool room(std::uint16_t guest_port) const;
    // Until the next SYN is due; nothing: none is.
    [[nodiscard]] std::optional<std::chrono::milliseconds> until_due(Clock::time_point now) const;
    // Gives `repeat` each SYN that is due. Those of connections that libslirp has given up are forgotten.
    void repeat_due(Clock::time_point now, const std::function<void(std::span<const std::byte>)>& repeat);

  private:
    struct Opening {
        Frame syn;
        Sequence end;  // of the SYN
        std::uint16_t guest_port = 0;
        Clock::time_point since{};
        Clock::time_point due{};
        std::chrono::milliseconds pause{};
    };
    void forget(std::unordered_map<std::uint64_t, Opening>::iterator opening);

    std::unordered_map<std::uint64_t, Opening> waiting_;  // by the other side's address and port, and the guest's port
    std::unordered_map<std::uint16_t, std::size_t> per_port_;
};

}  // namespace understudy::network
