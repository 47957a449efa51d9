// A page of figures over HTTP, for Prometheus to scrape: any request gets the page, and the connection is closed.
//
// Lives on one io_context's thread, on which `page` is called, too. A scraper that does not finish its request in two
// seconds, or makes it longer than 4 KiB, is cut off; whatever goes wrong with one is its own loss and is not reported.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace understudy::arbiter {

class MetricsEndpoint {
  public:
    // `acceptor` listens, and belongs to the endpoint. `page` gives the text, in the exposition format of version
    // 0.0.4, anew for every request. Nothing is accepted before serve().
    MetricsEndpoint(boost::asio::ip::tcp::acceptor acceptor, std::function<std::string()> page);
    MetricsEndpoint(const MetricsEndpoint&) = delete;
    MetricsEndpoint& operator=(const MetricsEndpoint&) = delete;

    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    // Accepts from now on. The io_context must not run any more once the endpoint is gone.
    void serve();

  private:
    struct Scrape;
    void answer(const std::shared_ptr<Scrape>& scrape);

    boost::asio::ip::tcp::acceptor acceptor_;
    boost::asio::steady_timer accept_retry_;
    std::function<std::string()> page_;
};

}  // namespace understudy::arbiter
