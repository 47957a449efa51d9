#include "hypervisor/replication/loop/live_io.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

// A guest that serves requests idles within this time and finds the frames by itself, without the cost of a kick; one
// that computes is kicked.
constexpr auto kPatience = 300us;
// How soon a queue that was too full is looked at again.
constexpr auto kRecheck = 500us;

}  // namespace

class LiveIo::Impl {
  public:
    Impl(boost::asio::io_context& io, InputQueue& queue, const network::LinkConfig& config,
         const ConsoleConfig& console, Handlers handlers)
        : io_(io),
          queue_(queue),
          handlers_(std::move(handlers)),
          patience_(io),
          recheck_(io),
          console_(io, queue, console, {[this] { attend(); }, handlers_.escaped, handlers_.warn}) {
        link_ = network::make_link(io, config, [this](Frame frame) { receive(std::move(frame)); });
    }

    void stand_by() { link_->stand_by(); }

    void speak(SpeakerRank rank) {
        link_->speak(rank);
        if (!std::exchange(open_, true)) {
            // Not before the guest goes on.
            boost::asio::post(io_, [this] { console_.open(); });
        }
    }

    void release(const std::vector<Output>& outputs) {
        frames_.clear();
        for (const Output& output : outputs) {
            if (output.kind == Output::Kind::frame) {
                frames_.push_back(output.bytes);
            } else {
                const std::string_view text(reinterpret_cast<const char*>(output.bytes.data()), output.bytes.size());
                handlers_.print(text);
                console_.print(text);
            }
        }
        if (!frames_.empty()) {
            link_->send(frames_);
        }
    }

    [[nodiscard]] Passage passage() const { return link_->passage(); }

  private:
    void receive(Frame frame) {
        queue_.push(std::move(frame));
        if (queue_.crowded() && !paused_) {
            pause();
        }
        attend();
    }

    // Something waits in the queue.
    void attend() {
        if (!waiting_) {
            waiting_ = true;
            patience_.expires_after(kPatience);
            patience_.async_wait([this](const boost::system::error_code& error) {
                waiting_ = false;
                if (!error && queue_.wants_stop()) {
                    handlers_.kick_if_running();
                }
            });
        }
    }

    void pause() {
        paused_ = true;
        link_->pause_receive(true);
        recheck();
    }

    void recheck() {
        recheck_.expires_after(kRecheck);
        recheck_.async_wait([this](const boost::system::error_code& error) {
            if (error) {
                return;
            }
            if (queue_.crowded()) {
                recheck();
            } else {
                paused_ = false;
                link_->pause_receive(false);
            }
        });
    }

    boost::asio::io_context& io_;
    InputQueue& queue_;
    Handlers handlers_;
    boost::asio::steady_timer patience_;
    boost::asio::steady_timer recheck_;
    bool waiting_ = false;
    bool paused_ = false;
    bool open_ = false;
    Console console_;
    std::unique_ptr<network::Link> link_;
    std::vector<Frame> frames_;
};

LiveIo::LiveIo(boost::asio::io_context& io, InputQueue& queue, const network::LinkConfig& link,
               const ConsoleConfig& console, Handlers handlers)
    : impl_(std::make_unique<Impl>(io, queue, link, console, std::move(handlers))) {}
LiveIo::~LiveIo() = default;
void LiveIo::stand_by() {
    impl_->stand_by();
}
void LiveIo::speak(SpeakerRank rank) {
    impl_->speak(rank);
}
void LiveIo::release(const std::vector<Output>& outputs) {
    impl_->release(outputs);
}
Passage LiveIo::passage() const {
    return impl_->passage();
}

}  // namespace understudy::replication
