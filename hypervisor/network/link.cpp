#include "hypervisor/network/link.hpp"

#include "common/error.hpp"
#include "hypervisor/network/links.hpp"

namespace understudy::network {
namespace {

class NoLink final : public Link {
  public:
    void speak(SpeakerRank /*rank*/) override {}
    void send(std::span<const Frame> /*frames*/) override {}
    void pause_receive(bool /*paused*/) override {}
};

}  // namespace

std::unique_ptr<Link> make_link(boost::asio::io_context& io, const LinkConfig& config, Link::FrameHandler on_frame) {
    constexpr std::string_view kGateway = "gateway:";
    constexpr std::string_view kTap = "tap:";
    const std::string_view endpoint = config.endpoint;
    if (endpoint == "none") {
        return std::make_unique<NoLink>();
    }
    if (endpoint.starts_with(kGateway)) {
        return make_gateway_link(io, endpoint.substr(kGateway.size()), config, std::move(on_frame));
    }
    if (endpoint.starts_with(kTap)) {
        return make_tap_link(io, endpoint.substr(kTap.size()), config, std::move(on_frame));
    }
    throw Error::format(
        "'{}' is no network: write gateway:unix:PATH, gateway:HOST:PORT, tap:NAME[,bridge=BRIDGE] or none", endpoint);
}

}  // namespace understudy::network
