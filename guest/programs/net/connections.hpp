// The connections of a simple server: each an object on the loop that ends itself.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "guest/programs/net/event_loop.hpp"
#include "guest/programs/net/socket.hpp"

namespace understudy::programs {

class Connections;

// One client. A derived class overrides ready(), and neither reads nor writes after close().
class Connection : public EventLoop::Handler {
  public:
    Connection(Connections& all, FileDescriptor socket);
    ~Connection() override;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

  protected:
    [[nodiscard]] const FileDescriptor& socket() const { return socket_; }
    void watch(Readiness interest);
    // Ends the connection; the object lives until the dispatch is over.
    void close();

  private:
    friend class Connections;

    Connections& all_;
    FileDescriptor socket_;
    Readiness interest_{.readable = true};
    bool closed_ = false;
};

class Connections {
  public:
    explicit Connections(EventLoop& loop) : loop_(loop) {}

    // Beyond a bound the new connection is closed at once.
    template <typename Derived, typename... Args>
    void add(FileDescriptor socket, Args&&... args) {
        constexpr std::size_t kMost = 4096;
        if (count_ == kMost) {
            return;
        }
        ++count_;
        const auto index = static_cast<std::size_t>(socket.get());
        if (by_descriptor_.size() <= index) {
            by_descriptor_.resize(index + 1);
        }
        by_descriptor_[index] = std::make_unique<Derived>(*this, std::move(socket), std::forward<Args>(args)...);
    }
    [[nodiscard]] std::size_t count() const { return count_; }

    // Call between dispatches.
    void forget_closed() { closed_.clear(); }

  private:
    friend class Connection;

    EventLoop& loop_;
    std::size_t count_ = 0;
    std::vector<std::unique_ptr<Connection>> by_descriptor_;
    std::vector<std::unique_ptr<Connection>> closed_;
};

inline Connection::Connection(Connections& all, FileDescriptor socket) : all_(all), socket_(std::move(socket)) {
    all_.loop_.add(socket_.get(), interest_, *this);
}

inline Connection::~Connection() {
    if (!closed_) {
        all_.loop_.remove(socket_.get());
    }
}

inline void Connection::watch(Readiness interest) {
    if (!(interest == interest_)) {
        interest_ = interest;
        all_.loop_.change(socket_.get(), interest);
    }
}

inline void Connection::close() {
    closed_ = true;
    all_.loop_.remove(socket_.get());
    all_.closed_.push_back(std::move(all_.by_descriptor_[static_cast<std::size_t>(socket_.get())]));
    --all_.count_;
}

}  // namespace understudy::programs
