#include "common/address.hpp"

#include <arpa/inet.h>

#include <charconv>

#include "common/error.hpp"

namespace understudy {

std::string Address::text() const {
    return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

bool Address::loopback() const {
    in_addr numeric{};
    const bool is_ipv4 = ::inet_pton(AF_INET, host.c_str(), &numeric) == 1;
    return host == "localhost" || host == "::1" || (is_ipv4 && ntohl(numeric.s_addr) >> 24U == IN_LOOPBACKNET);
}

Address parse_address(std::string_view text) {
    const auto fail = [&](std::string_view why) {
        return Error::format("'{}' is not an address ({}); write host:port, for example 127.0.0.1:7001", text, why);
    };
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        throw fail("no port");
    }
    auto host = text.substr(0, colon);
    const auto digits = text.substr(colon + 1);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string_view::npos) {
        throw fail("an IPv6 address needs brackets");
    }
    if (host.empty() || host.size() > 253) {
        throw fail("no host");
    }
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        throw fail("the port is not a number from 0 to 65535");
    }
    return {std::string(host), port};
}

std::vector<Address> parse_addresses(std::string_view comma_separated) {
    std::vector<Address> result;
    while (true) {
        const auto comma = comma_separated.find(',');
        result.push_back(parse_address(comma_separated.substr(0, comma)));
        if (comma == std::string_view::npos) {
            return result;
        }
        comma_separated.remove_prefix(comma + 1);
    }
}

}  // namespace understudy
