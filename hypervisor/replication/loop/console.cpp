#include "hypervisor/replication/loop/console.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "hypervisor/gateway/endpoint.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kMaxVisitors = 16;
constexpr std::size_t kMaxUnread = std::size_t{1} << 20;
constexpr std::byte kEndOfInput{0x04};  // Ctrl-D
constexpr mode_t kOwnerOnly = 0600;     // who types here is root in the guest
// How soon input for which there was no room is offered again.
constexpr auto kPatience = 10ms;

// Reads a descriptor no faster than the guest takes what it says. Handlers hold it by shared_ptr: it may be dropped
// from within them.
class Typist : public std::enable_shared_from_this<Typist> {
  public:
    struct Handlers {
        // How many of `bytes`, from the first on, found room.
        std::function<std::size_t(std::span<const std::byte> bytes)> type;
        std::function<void()> end;  // there is nothing more; the last call
    };
    Typist(asio::io_context& io, FileDescriptor fd) : stream_(io, fd.release()), timer_(io) {
        stream_.non_blocking(true);
    }

    void start(Handlers handlers) {
        handlers_ = std::move(handlers);
        wait();
    }
    // Nothing is called any more.
    void stop() {
        // Whoever stops it may be one of them.
        asio::post(stream_.get_executor(), [handlers = std::exchange(handlers_, {})] {});
        error_code ignored;
        stream_.close(ignored);
        timer_.cancel(ignored);
    }

    // What cannot be sent at once waits. False: nobody will read it.
    bool print(std::string_view text) {
        if (unread_.size() + text.size() > kMaxUnread) {
            return false;
        }
        unread_ += text;
        return sending_ || send();
    }

  private:
    void wait() {
        stream_.async_wait(asio::posix::stream_descriptor::wait_read,
                           [self = shared_from_this()](const error_code& error) {
                               // A file or /dev/null cannot be waited for, and needs not.
                               if (!error || error == asio::error::operation_not_supported) {
                                   self->read();
                               }
                           });
    }

    void read() {
        const ssize_t n = ::read(stream_.native_handle(), buffer_.data(), buffer_.size());
        if (n > 0) {
            offer(std::span(buffer_).first(static_cast<std::size_t>(n)));
        } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            wait();
        } else if (handlers_.end) {
            handlers_.end();
        }
    }

    void offer(std::span<const std::byte> bytes) {
        if (!handlers_.type) {
            return;  // stopped
        }
        bytes = bytes.subspan(handlers_.type(bytes));
        if (bytes.empty()) {
            asio::post(stream_.get_executor(), [self = shared_from_this()] { self->wait(); });
            return;
        }
        timer_.expires_after(kPatience);
        timer_.async_wait([self = shared_from_this(), bytes](const error_code& error) {
            if (!error) {
                self->offer(bytes);
            }
        });
    }

    bool send() {
        const ssize_t n = ::send(stream_.native_handle(), unread_.data(), unread_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        unread_.erase(0, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
        sending_ = !unread_.empty();
        if (sending_) {
            stream_.async_wait(asio::posix::stream_descriptor::wait_write,
                               [self = shared_from_this()](const error_code& error) {
                                   if (!error) {
                                       self->send();
                                   }
                               });
        }
        return true;
    }

    asio::posix::stream_descriptor stream_;
    asio::steady_timer timer_;
    Handlers handlers_;
    std::array<std::byte, 4096> buffer_{};
    std::string unread_;
    bool sending_ = false;
};

// Standard input, opened anew: to make it non-blocking must not make standard output so, which may be the same
// terminal.
FileDescriptor standard_input() {
    FileDescriptor input(::open("/proc/self/fd/0", O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!input) {
        throw Error::from_errno("cannot read the console's input from standard input", errno);
    }
    return input;
}

}  // namespace

class Console::Impl {
  public:
    Impl(asio::io_context& io, InputQueue& queue, ConsoleConfig config, Handlers handlers)
        : io_(io), queue_(queue), config_(std::move(config)), handlers_(std::move(handlers)), acceptor_(io), end_(io) {}
    ~Impl() {
        if (keyboard_) {
            keyboard_->stop();
        }
        std::ranges::for_each(visitors_, &Typist::stop);
    }

    void open() {
        attempt([this] { read_standard_input(); });
        attempt([this] { listen(); });
    }

    void print(std::string_view text) {
        std::vector<std::shared_ptr<Typist>> gone;
        for (const auto& visitor : visitors_) {
            if (!visitor->print(text)) {
                gone.push_back(visitor);
            }
        }
        std::ranges::for_each(gone, [this](const auto& visitor) { drop(visitor); });
    }

  private:
    // The guest goes on without a console.
    template <typename Act>
    void attempt(Act act) {
        try {
            act();
        } catch (const Error& error) {
            if (handlers_.warn) {
                handlers_.warn(error.what());
            }
        }
    }

    void read_standard_input() {
        if (!config_.standard_input || keyboard_) {
            return;
        }
        keyboard_ = std::make_shared<Typist>(io_, standard_input());
        keyboard_->start({[this](std::span<const std::byte> bytes) { return type_at_keyboard(bytes); },
                          [this] { type_end_of_input(); }});
    }

    // A terminal's end is that of its user, who is gone.
    void type_end_of_input() {
        if (config_.escape || type_into_guest({&kEndOfInput, 1}) == 1) {
            keyboard_->stop();
            return;
        }
        end_.expires_after(kPatience);
        end_.async_wait([this](const error_code& error) {
            if (!error) {
                type_end_of_input();
            }
        });
    }

    std::size_t type_into_guest(std::span<const std::byte> bytes) {
        const std::size_t taken = queue_.type(bytes);
        if (taken > 0) {
            handlers_.typed();
        }
        return taken;
    }

    std::size_t type_at_keyboard(std::span<const std::byte> bytes) {
        const auto escape =
            config_.escape ? std::ranges::find(bytes, static_cast<std::byte>(kConsoleEscape)) : bytes.end();
        const std::size_t taken = type_into_guest({bytes.begin(), escape});
        if (escape == bytes.end() || taken < static_cast<std::size_t>(escape - bytes.begin())) {
            return taken;
        }
        handlers_.escaped();
        return bytes.size();
    }

    void listen() {
        if (config_.socket.empty() || listener_) {
            return;
        }
        listener_.emplace(network::parse_endpoint("unix:" + config_.socket), kOwnerOnly);
        acceptor_.assign(::dup(listener_->fd()));
        accept();
    }

    void accept() {
        acceptor_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const error_code& error) {
            if (error) {
                return;
            }
            for (FileDescriptor fd = listener_->accept(); fd; fd = listener_->accept()) {
                if (visitors_.size() < kMaxVisitors) {
                    admit(std::move(fd));
                }
            }
            accept();
        });
    }

    void admit(FileDescriptor fd) {
        const auto visitor = std::make_shared<Typist>(io_, std::move(fd));
        visitors_.push_back(visitor);
        visitor->start({[this](std::span<const std::byte> bytes) { return type_into_guest(bytes); },
                        [this, weak = std::weak_ptr(visitor)] { drop(weak.lock()); }});
    }

    void drop(const std::shared_ptr<Typist>& visitor) {
        if (visitor && std::erase(visitors_, visitor) > 0) {
            visitor->stop();
        }
    }

    asio::io_context& io_;
    InputQueue& queue_;
    const ConsoleConfig config_;
    const Handlers handlers_;
    std::optional<network::ListeningSocket> listener_;
    asio::posix::stream_descriptor acceptor_;
    asio::steady_timer end_;  // of standard input, until there is room for it
    std::shared_ptr<Typist> keyboard_;
    std::vector<std::shared_ptr<Typist>> visitors_;
};

Console::Console(asio::io_context& io, InputQueue& queue, ConsoleConfig config, Handlers handlers)
    : impl_(std::make_unique<Impl>(io, queue, std::move(config), std::move(handlers))) {}
Console::~Console() = default;
void Console::open() {
    impl_->open();
}
void Console::print(std::string_view text) {
    impl_->print(text);
}

}  // namespace understudy::replication
