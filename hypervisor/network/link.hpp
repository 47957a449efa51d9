// The guest's one NIC as the replica's I/O thread sees it: frames in, frames out, and who may speak.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/ethernet.hpp"
#include "common/passage.hpp"
#include "common/tls/context.hpp"
#include "common/units.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::network {

// How to reach the network: "gateway:unix:PATH", "gateway:HOST:PORT", "tap:NAME[,bridge=BRIDGE]" or "none".
struct LinkConfig {
    std::string endpoint;
    VmId vm;
    MacAddress mac{};
    std::uint32_t ipv4_address = 0;  // network byte order; for the gratuitous ARP
    // Of the frames that the guest says and hears, and so of all that pass the link on the guest's side. What the
    // network behind it does not understand is done in software.
    FrameFormat format = FrameFormat::plain;
    // A host's credentials, for a gateway that is reached by TCP; null: plain text, for which that is on loopback.
    std::shared_ptr<tls::Context> tls{};
};

// Called on one thread only, that of the io_context; callbacks run there too. Until speak() was called the link is
// silent: nothing is received and send() drops.
class Link {
  public:
    using FrameHandler = std::function<void(Frame)>;

    virtual ~Link() = default;

    // This replica may come to be the guest's voice: what that takes time for, such as a connection, is done ahead, as
    // far as it can be. Still silent. Not after speak().
    virtual void stand_by() = 0;

    // From now on this replica is the guest's voice with this rank: on_frame receives, send() transmits. The first call
    // opens the device or connection; a later call with a higher rank announces the new rank. On a tap, announcing
    // sends a gratuitous ARP so that bridges learn the guest's new port.
    virtual void speak(SpeakerRank rank) = 0;

    // Queues the frames of one release, written by the guest and checked here; bounded, the oldest are dropped when the
    // peer does not drain (as a NIC would).
    virtual void send(std::span<const Frame> frames) = 0;

    // What send() took, and what of it the kernel has by now, or was dropped. What is in between dies with this
    // process.
    [[nodiscard]] virtual Passage passage() const = 0;

    // While true, no frame is read from the device: the guest's receive queue is full.
    virtual void pause_receive(bool paused) = 0;
};

// Throws understudy::Error when the endpoint is malformed or (for taps) cannot be opened.
[[nodiscard]] std::unique_ptr<Link> make_link(boost::asio::io_context& io, const LinkConfig& config,
                                              Link::FrameHandler on_frame);

}  // namespace understudy::network
