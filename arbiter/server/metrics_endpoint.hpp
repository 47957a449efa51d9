// A page of figures over HTTP, for Prometheus to scrape: any request gets the page, and the connection is closed. Under
// TLS it is HTTPS, and everybody may scrape whose certificate says a role.
//
// Lives on one io_context's thread, on which `page` is called, too. A scraper that does not finish handshake and
// request in two seconds, or makes it longer than 4 KiB, is cut off, and so is the oldest of more than eight; whatever
// goes wrong with one is its own loss and is not reported.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "common/address.hpp"
#include "common/tls/context.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::arbiter {

class Listener;

class MetricsEndpoint {
  public:
    // Listens at `address`; port 0: any free one. `tls` is null for plain text, for which that must be on loopback.
    // `page` gives the text, in the exposition format of version 0.0.4, anew for every request. `io` does not run any
    // more once the endpoint is gone. Throws understudy::Error when the address cannot be had.
    MetricsEndpoint(boost::asio::io_context& io, const Address& address, std::shared_ptr<tls::Context> tls,
                    std::function<std::string()> page);
    ~MetricsEndpoint();
    MetricsEndpoint(const MetricsEndpoint&) = delete;
    MetricsEndpoint& operator=(const MetricsEndpoint&) = delete;

    [[nodiscard]] std::uint16_t port() const;

  private:
    struct Scrape;
    void greet(const std::shared_ptr<Scrape>& scrape);
    void answer(const std::shared_ptr<Scrape>& scrape);
    void make_room();

    std::shared_ptr<tls::Context> tls_;
    std::function<std::string()> page_;
    std::deque<std::weak_ptr<Scrape>> scrapes_;  // under way; the oldest first
    std::unique_ptr<Listener> listener_;
};

}  // namespace understudy::arbiter
