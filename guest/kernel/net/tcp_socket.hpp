// A TCP socket over one lwIP control block. lwIP may free the block on its own (reset, time-out, an orderly end): then
// pcb_ is null and what the program may still ask has been remembered here. Connections come and go in tcp_socket.cpp,
// their bytes in tcp_stream.cpp, their options in tcp_options.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "guest/kernel/list.hpp"
#include "guest/kernel/net/lwip.hpp"
#include "guest/kernel/net/receive_queue.hpp"
#include "guest/kernel/net/socket.hpp"

namespace understudy::kernel {

class TcpSocket final : public Socket {
  public:
    TcpSocket(std::uint32_t status_flags, tcp_pcb* pcb) : Socket(status_flags), pcb_(pcb) { attach(); }
    ~TcpSocket() override;

    [[nodiscard]] SocketType type() const override { return SocketType::stream; }
    Result bind(const Endpoint& local) override;
    Result listen(int backlog) override;
    Result accept(std::uint32_t status_flags, FileReference<Socket>& accepted) override;
    Result connect(const std::optional<Endpoint>& peer) override;
    [[nodiscard]] bool connecting() const override { return state_ == State::connecting; }
    [[nodiscard]] bool listening() const override { return state_ == State::listening; }
    Result shutdown(ShutdownHow how) override;
    Result send(Buffers& from, unsigned flags, const std::optional<Endpoint>& to) override;
    Result receive(Buffers& to, unsigned flags, Received& received) override;
    [[nodiscard]] Endpoint local() const override;
    [[nodiscard]] std::optional<Endpoint> peer() const override;
    int take_error() override { return std::exchange(error_, 0); }
    Result set_option(int level, int option, int value) override;
    Result get_option(int level, int option, int& value) const override;
    void options_changed() override;
    Result inform(tcp_info& info) const override;
    [[nodiscard]] std::size_t available() const override { return received_.size(); }
    [[nodiscard]] std::size_t outstanding() const override {
        return pcb_ == nullptr || state_ == State::listening ? 0 : pcb_->snd_lbb - pcb_->lastack;
    }
    [[nodiscard]] std::uint32_t ready() const override;

  private:
    // `ended`: was connected, and the control block is gone.
    enum class State : std::uint8_t { fresh, listening, connecting, connected, ended };

    void attach();
    void detach();
    [[nodiscard]] bool has_room() const;
    [[nodiscard]] bool in_flight() const { return pcb_->unsent != nullptr || pcb_->unacked != nullptr; }
    void push(bool hold);
    Result pipe_error(unsigned flags);
    void apply_backlog();
    void remember_addresses();

    // lwIP's callbacks; the argument is the socket.
    static err_t on_accept(void* argument, tcp_pcb* pcb, err_t error);
    static err_t on_connected(void* argument, tcp_pcb* pcb, err_t error);
    static err_t on_received(void* argument, tcp_pcb* pcb, pbuf* data, err_t error);
    static err_t on_sent(void* argument, tcp_pcb* pcb, std::uint16_t count);
    static void on_error(void* argument, err_t error);

    tcp_pcb* pcb_;
    State state_ = State::fresh;
    int error_ = 0;
    bool no_delay_ = false;
    bool corked_ = false;
    bool peer_closed_ = false;
    bool read_shut_ = false;
    bool write_shut_ = false;
    bool had_room_ = true;
    bool outcome_told_ = false;  // the program knows that its connect() has succeeded
    ReceiveQueue received_;
    Endpoint local_;
    std::optional<Endpoint> peer_;

    // Listening: connections that wait to be accepted.
    int backlog_ = 0;
    int waiting_ = 0;
    ListHook in_backlog_;
    List<TcpSocket, &TcpSocket::in_backlog_> backlog_queue_;
};

}  // namespace understudy::kernel
