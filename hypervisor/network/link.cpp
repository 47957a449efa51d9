#include "hypervisor/network/link.hpp"

#include <utility>

#include "common/error.hpp"
#include "hypervisor/network/links.hpp"
#include "hypervisor/network/offload.hpp"

namespace understudy::network {
namespace {

class NoLink final : public Link {
  public:
    void stand_by() override {}
    void speak(SpeakerRank /*rank*/) override {}
    void send(std::span<const Frame> /*frames*/) override {}
    [[nodiscard]] Passage passage() const override { return {}; }
    void pause_receive(bool /*paused*/) override {}
};

// A guest whose NIC offloads, on a link that does not: what it left to be done is done here.
class CompletingLink final : public Link {
  public:
    explicit CompletingLink(std::unique_ptr<Link> plain) : plain_(std::move(plain)) {}

    void stand_by() override { plain_->stand_by(); }
    void speak(SpeakerRank rank) override { plain_->speak(rank); }
    void send(std::span<const Frame> frames) override {
        for (const Frame& frame : frames) {
            completed_.clear();
            complete_offload(frame, completed_);
            plain_->send(completed_);
        }
    }
    [[nodiscard]] Passage passage() const override { return plain_->passage(); }
    void pause_receive(bool paused) override { plain_->pause_receive(paused); }

    static FrameHandler wrap(FrameHandler on_frame) {
        return [on_frame = std::move(on_frame)](const Frame& frame) { on_frame(with_offload_header(frame)); };
    }

  private:
    std::unique_ptr<Link> plain_;
    std::vector<Frame> completed_;  // of one frame; kept for its room
};

std::unique_ptr<Link> make_completed_gateway_link(boost::asio::io_context& io, std::string_view endpoint,
                                                  const LinkConfig& config, Link::FrameHandler on_frame) {
    if (config.format == FrameFormat::plain) {
        return make_gateway_link(io, endpoint, config, std::move(on_frame));
    }
    return std::make_unique<CompletingLink>(
        make_gateway_link(io, endpoint, config, CompletingLink::wrap(std::move(on_frame))));
}

}  // namespace

std::unique_ptr<Link> make_link(boost::asio::io_context& io, const LinkConfig& config, Link::FrameHandler on_frame) {
    constexpr std::string_view kGateway = "gateway:";
    constexpr std::string_view kTap = "tap:";
    const std::string_view endpoint = config.endpoint;
    if (endpoint == "none") {
        return std::make_unique<NoLink>();
    }
    if (endpoint.starts_with(kGateway)) {
        return make_completed_gateway_link(io, endpoint.substr(kGateway.size()), config, std::move(on_frame));
    }
    if (endpoint.starts_with(kTap)) {
        return make_tap_link(io, endpoint.substr(kTap.size()), config, std::move(on_frame));
    }
    throw Error::format(
        "'{}' is no network: write gateway:unix:PATH, gateway:HOST:PORT, tap:NAME[,bridge=BRIDGE] or none", endpoint);
}

}  // namespace understudy::network
