// What the gateway knows of libslirp's TCP connections, by the frames of both directions and the sockets that libslirp
// has.
//
// Two things libslirp does not do by itself. It keeps a connection and its descriptor for ten seconds after both sides
// have closed it: clients that come and go would soon have used up all descriptors. Nothing is lost between it and the
// guest but by this process's own doing, so nothing is left to wait for: a connection ends as soon as both ends are
// acknowledged and its socket has taken what the guest said. And of what lies behind a gap in the guest's data libslirp
// keeps every segment, however many: no more get through than fill a window.
//
// Pure: no socket, no clock. Not thread-safe.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/ethernet.hpp"
#include "hypervisor/gateway/packet.hpp"

namespace understudy::network {

class Connections {
  public:
    // Segments behind what libslirp has acknowledged, until it acknowledges more. A window of full segments is fewer.
    static constexpr unsigned kMostAhead = 64;

    // libslirp has another socket: of a client of the host's at `peer_port` (network byte order), or of what the guest
    // opens by the frame that is just being put in.
    void accepted(int descriptor, std::uint16_t peer_port);
    void connecting(int descriptor);
    // It closes one.
    void closed(int descriptor);

    // A frame from libslirp.
    void to_guest(std::span<const std::byte> frame);
    // A frame for libslirp. False: it is not to have it.
    [[nodiscard]] bool from_guest(std::span<const std::byte> frame);
    // The frame has been put in.
    void put_in() { opening_.reset(); }

    // Is the connection of this socket over, but for what the socket has still to take?
    [[nodiscard]] bool is_over(int descriptor) const { return over_.contains(descriptor); }
    [[nodiscard]] bool any_over() const { return !over_.empty(); }
    // What the guest could say to have libslirp forget those that are over, each once; those in `busy` remain.
    [[nodiscard]] std::vector<Frame> take_endings(std::span<const int> busy);

  private:
    // In network byte order.
    struct Flow {
        std::uint32_t peer_address;
        std::uint32_t guest_address;
        std::uint16_t peer_port;
        std::uint16_t guest_port;
        auto operator<=>(const Flow&) const = default;
    };
    struct Connection {
        int descriptor = -1;
        std::optional<Sequence> acknowledged;  // by libslirp
        unsigned ahead = 0;                    // segments that it has been given behind that
        std::optional<Sequence> peer_end;      // behind the peer's FIN
        std::optional<Sequence> guest_end;     // behind the guest's
        bool peer_end_acknowledged = false;
        bool guest_end_acknowledged = false;
        Frame ending;
    };
    static Flow flow_to_guest(const TcpSegment& segment);
    static Flow flow_from_guest(const TcpSegment& segment);
    void opened(const Flow& flow, int descriptor);
    void note_if_over(const Connection& connection);

    std::map<Flow, Connection> connections_;
    std::unordered_map<int, Flow> flows_;              // by descriptor
    std::unordered_map<std::uint16_t, int> accepted_;  // by the peer's port: their SYN is to come
    std::optional<Flow> opening_;                      // by the frame that is just being put in
    std::unordered_map<int, Flow> over_;               // by descriptor
};

}  // namespace understudy::network
