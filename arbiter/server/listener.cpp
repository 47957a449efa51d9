#include "arbiter/server/listener.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <string>
#include <utility>

#include "common/error.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds kPause{100};

tcp::acceptor listen_on(asio::io_context& io, const Address& address, std::string_view option) {
    error_code error;
    tcp::resolver resolver(io);
    const auto found = resolver.resolve(address.host, std::to_string(address.port), tcp::resolver::passive, error);
    if (error || found.empty()) {
        throw Error::format("cannot listen on {}: {}", address.text(), error.message());
    }
    const tcp::endpoint endpoint = *found.begin();
    tcp::acceptor acceptor(io);
    acceptor.open(endpoint.protocol(), error);
    if (!error) {
        acceptor.set_option(tcp::acceptor::reuse_address(true), error);
        acceptor.bind(endpoint, error);
    }
    if (!error) {
        acceptor.listen(asio::socket_base::max_listen_connections, error);
    }
    if (error) {
        throw Error::format("cannot listen on {}: {}; choose a free address with {}", address.text(), error.message(),
                            option);
    }
    return acceptor;
}

}  // namespace

Listener::Listener(asio::io_context& io, const Address& address, bool under_tls, std::string_view option,
                   std::function<void(tcp::socket)> take)
    : acceptor_(listen_on(io, address, option)), retry_(io), under_tls_(under_tls), take_(std::move(take)) {
    accept();
}

void Listener::accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
        if (error == asio::error::operation_aborted) {
            return;
        }
        if (error) {  // out of descriptors: those who are connected come first
            spdlog::warn("cannot accept a connection at port {}: {}", port(), error.message());
            accept_after(kPause);
            return;
        }
        if (under_tls_ && tls::has_left(socket.native_handle())) {
            accept();
            return;
        }
        take_(std::move(socket));
        const auto now = tls::Pace::Clock::now();
        if (under_tls_) {
            pace_.accepted(now);
        }
        accept_after(pace_.wait(now));
    });
}

void Listener::accept_after(std::chrono::steady_clock::duration pause) {
    if (pause == pause.zero()) {
        accept();
        return;
    }
    retry_.expires_after(pause);
    retry_.async_wait([this](error_code stopped) {
        if (!stopped) {
            accept();
        }
    });
}

}  // namespace understudy::arbiter
