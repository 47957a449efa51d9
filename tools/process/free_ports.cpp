#include "tools/process/free_ports.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

namespace understudy::tools {

std::vector<std::uint16_t> free_ports(std::size_t count) {
    namespace asio = boost::asio;
    using asio::ip::tcp;
    asio::io_context io;
    std::vector<tcp::acceptor> acceptors;  // all open at once, so that no port comes twice
    std::vector<std::uint16_t> ports;
    for (std::size_t i = 0; i < count; ++i) {
        acceptors.emplace_back(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        ports.push_back(acceptors.back().local_endpoint().port());
    }
    return ports;
}

}  // namespace understudy::tools
