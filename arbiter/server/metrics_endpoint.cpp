#include "arbiter/server/metrics_endpoint.hpp"

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>

#include "arbiter/server/listener.hpp"
#include "common/error.hpp"
#include "common/tls/stream.hpp"

namespace understudy::arbiter {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::chrono::milliseconds kRequestPatience{2000};
constexpr std::size_t kMaxRequest = 4096;
constexpr std::size_t kMostScrapes = 8;

}  // namespace

struct MetricsEndpoint::Scrape {
    Scrape(tcp::socket socket, std::shared_ptr<tls::Context> tls)
        : stream(std::move(socket), std::move(tls), tls::Side::acceptor),
          input(kMaxRequest),
          timer(stream.get_executor()) {}
    tls::Stream stream;
    asio::streambuf input;
    std::string output;
    asio::steady_timer timer;
};

MetricsEndpoint::MetricsEndpoint(asio::io_context& io, const Address& address, std::shared_ptr<tls::Context> tls,
                                 std::function<std::string()> page)
    : tls_(std::move(tls)),
      page_(std::move(page)),
      listener_(std::make_unique<Listener>(io, address, tls_ != nullptr, "--metrics", [this](tcp::socket socket) {
          greet(std::make_shared<Scrape>(std::move(socket), tls_));
      })) {
    if (!tls_ && !listener_->on_loopback()) {
        throw Error::format(
            "plain text is for loopback only, and {} of --metrics is not; give --tls instead of --insecure",
            address.text());
    }
}
MetricsEndpoint::~MetricsEndpoint() = default;

std::uint16_t MetricsEndpoint::port() const {
    return listener_->port();
}

// A scraper asks at once, and is answered at once: of those who have not been, the oldest goes.
void MetricsEndpoint::make_room() {
    std::erase_if(scrapes_, [](const auto& scrape) { return scrape.expired(); });
    if (scrapes_.size() >= kMostScrapes) {
        if (const auto oldest = scrapes_.front().lock()) {
            oldest->stream.close();
            oldest->timer.cancel();
        }
        scrapes_.pop_front();
    }
}

void MetricsEndpoint::greet(const std::shared_ptr<Scrape>& scrape) {
    make_room();
    scrapes_.push_back(scrape);
    scrape->timer.expires_after(kRequestPatience);
    scrape->timer.async_wait([weak = std::weak_ptr(scrape)](error_code error) {
        if (const auto self = weak.lock(); self && !error) {
            self->stream.close();
        }
    });
    scrape->stream.async_handshake([this, scrape](error_code error) {
        if (!error && (!tls_ || scrape->stream.peer())) {
            answer(scrape);
        }
    });
}

void MetricsEndpoint::answer(const std::shared_ptr<Scrape>& scrape) {
    asio::async_read_until(scrape->stream, scrape->input, "\r\n\r\n", [this, scrape](error_code error, std::size_t) {
        if (error) {
            return;
        }
        const auto body = page_();
        scrape->output = fmt::format(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n"
            "Connection: close\r\n\r\n{}",
            body.size(), body);
        asio::async_write(scrape->stream, asio::buffer(scrape->output), [scrape](error_code, std::size_t) {
            error_code ignored;
            scrape->stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
            scrape->timer.cancel();
        });
    });
}

}  // namespace understudy::arbiter
