// One client: its bytes in, its replies out.
#pragma once

#include <string>
#include <string_view>

#include "guest/programs/kv/command.hpp"
#include "guest/programs/kv/request_parser.hpp"
#include "guest/programs/net/event_loop.hpp"
#include "guest/programs/net/socket.hpp"

namespace understudy::kv {

class Server;

class Connection final : public programs::EventLoop::Handler {
  public:
    Connection(Server& server, programs::FileDescriptor socket, std::uint64_t id);
    ~Connection() override;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    [[nodiscard]] int descriptor() const { return socket_.get(); }
    void ready(programs::Readiness readiness) override;

  private:
    // A client that does not read its replies is not read from either, once this much waits for it.
    static constexpr std::size_t kEnoughOutput = std::size_t{256} << 10;
    // One reply may go beyond that (LRANGE of long elements), but not beyond this: the client is closed.
    static constexpr std::size_t kMaxOutput = std::size_t{64} << 20;

    void read();
    // Runs the requests in `bytes`; what is not yet complete, or must wait for the client to read, stays in input_.
    void process(std::string_view bytes);
    std::size_t run_requests(std::string_view bytes);
    void run_request(std::span<const std::string_view> arguments);
    bool flush();  // false: the connection is gone
    void settle();
    void close();

    [[nodiscard]] bool is_congested() const { return output_.size() - sent_ >= kEnoughOutput; }
    [[nodiscard]] bool accepts_requests() const { return !session_.quit && !is_congested(); }

    Server& server_;
    programs::FileDescriptor socket_;
    programs::Readiness interest_{.readable = true};
    RequestParser parser_;
    std::string input_;
    std::string output_;
    std::size_t sent_ = 0;  // of output_
    Session session_;
    bool input_ended_ = false;
    bool closed_ = false;
};

}  // namespace understudy::kv
