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
    explicit Scrape(tcp::socket s) : socket(std::move(s)), input(kMaxRequest), timer(socket.get_executor()) {}
    tcp::socket socket;
    asio::streambuf input;
    std::string output;
    asio::steady_timer timer;
};

MetricsEndpoint::MetricsEndpoint(asio::io_context& io, const Address& address, std::function<std::string()> page)
    : page_(std::move(page)),
      listener_(std::make_unique<Listener>(io, address, "--metrics", [this](tcp::socket socket) {
          answer(std::make_shared<Scrape>(std::move(socket)));
      })) {}
MetricsEndpoint::~MetricsEndpoint() = default;

std::uint16_t MetricsEndpoint::port() const {
    return listener_->port();
}

// A scraper asks at once, and is answered at once: of those who have not been, the oldest goes.
void MetricsEndpoint::make_room() {
    std::erase_if(scrapes_, [](const auto& scrape) { return scrape.expired(); });
    if (scrapes_.size() >= kMostScrapes) {
        if (const auto oldest = scrapes_.front().lock()) {
            error_code ignored;
            oldest->socket.close(ignored);
            oldest->timer.cancel();
        }
        scrapes_.pop_front();
    }
}

void MetricsEndpoint::answer(const std::shared_ptr<Scrape>& scrape) {
    make_room();
    scrapes_.push_back(scrape);
    scrape->timer.expires_after(kRequestPatience);
    scrape->timer.async_wait([weak = std::weak_ptr(scrape)](error_code error) {
        if (const auto self = weak.lock(); self && !error) {
            error_code ignored;
            self->socket.close(ignored);
        }
    });
    asio::async_read_until(scrape->socket, scrape->input, "\r\n\r\n", [this, scrape](error_code error, std::size_t) {
        if (error) {
            return;
        }
        const auto body = page_();
        scrape->output = fmt::format(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n"
            "Connection: close\r\n\r\n{}",
            body.size(), body);
        asio::async_write(scrape->socket, asio::buffer(scrape->output), [scrape](error_code, std::size_t) {
            error_code ignored;
            scrape->socket.shutdown(tcp::socket::shutdown_both, ignored);
            scrape->timer.cancel();
        });
    });
}

}  // namespace understudy::arbiter
