// Takes connections at one address: what the server's port and its metrics page have in common.
//
// Includes Boost.Asio for the socket that it hands over; only .cpp files include it. Lives on one io_context's thread.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <string_view>

#include "common/address.hpp"
#include "common/tls/pace.hpp"

namespace understudy::arbiter {

class Listener {
  public:
    // Listens at once; port 0: any free one. `under_tls`: what comes will shake hands, and is taken at the pace that
    // the server can bear. `option` is the command's option that names the address, for whoever must choose another.
    // `take` gets each connection, once the io_context runs; the io_context does not run any more once the listener is
    // gone. Throws understudy::Error when the address cannot be had.
    Listener(boost::asio::io_context& io, const Address& address, bool under_tls, std::string_view option,
             std::function<void(boost::asio::ip::tcp::socket)> take);
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    // Nobody can reach it from another machine.
    [[nodiscard]] bool on_loopback() const { return acceptor_.local_endpoint().address().is_loopback(); }

  private:
    void accept();
    void accept_after(std::chrono::steady_clock::duration pause);

    boost::asio::ip::tcp::acceptor acceptor_;
    boost::asio::steady_timer retry_;
    bool under_tls_;
    tls::Pace pace_;
    std::function<void(boost::asio::ip::tcp::socket)> take_;
};

}  // namespace understudy::arbiter
