// Which fragments of the guest's datagrams libslirp may have. It keeps all of what is not complete for half a minute,
// as many as come, and finds out what a datagram is about when it has put it together. So a datagram's fragments get
// through in order alone, as every sender sends them and as nothing on the way here changes; few datagrams at a time,
// none in tiny pieces; and none of TCP, whose senders know how much fits into a frame.
//
// Pure: no socket, no clock. Not thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "hypervisor/gateway/packet.hpp"

namespace understudy::network {

class Fragments {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kMostDatagrams = 64;
    static constexpr std::size_t kLeastBytes = 512;   // of any but the last; every network carries as much
    static constexpr std::chrono::seconds kKept{32};  // a little longer than libslirp does

    [[nodiscard]] bool admits(const Ipv4Packet& packet, Clock::time_point now);

  private:
    struct Datagram {
        std::uint32_t source;
        std::uint32_t destination;
        std::uint16_t id;
        std::uint8_t protocol;
        auto operator<=>(const Datagram&) const = default;
    };
    struct Begun {
        std::size_t bytes;
        Clock::time_point since;
    };

    std::map<Datagram, Begun> begun_;
};

}  // namespace understudy::network
