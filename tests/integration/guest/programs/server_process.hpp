// A server program as a child process, and clients of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/process/line_process.hpp"

namespace understudy::programs {

class ServerProcess {
  public:
    // Starts `program` with --port and `options`; returns when it has said that it is ready.
    explicit ServerProcess(const std::string& program, const std::vector<std::string>& options = {});

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] bool is_running() { return !program_.process().exit_status(); }

  private:
    ServerProcess(const std::string& program, const std::vector<std::string>& options, std::uint16_t port);

    std::uint16_t port_;
    tools::LineProcess program_;
};

// A blocking TCP client; a wait of more than ten seconds is a failure and throws.
class Client {
  public:
    explicit Client(std::uint16_t port);
    ~Client();
    Client(Client&& other) noexcept;
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void send(std::string_view bytes);
    // As much as the socket takes at once; 0: nothing now.
    std::size_t send_some(std::string_view bytes);
    void end_sending();
    std::string receive(std::size_t count);
    // Until the peer ends the connection.
    std::string receive_all();
    // Up to and with "\r\n", without it.
    std::string receive_line();

  private:
    bool receive_more();  // false: ended

    int socket_;
    std::string received_;
};

}  // namespace understudy::programs
