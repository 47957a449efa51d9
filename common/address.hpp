// "host:port" and "[ipv6]:port", as users write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace understudy {

struct Address {
    std::string host;
    std::uint16_t port = 0;

    bool operator==(const Address&) const = default;
    [[nodiscard]] std::string text() const;
    // "localhost" or an address of the loopback network: traffic to it does not leave this machine.
    [[nodiscard]] bool loopback() const;
};

// Throw understudy::Error that names what is wrong.
[[nodiscard]] Address parse_address(std::string_view text);
[[nodiscard]] std::vector<Address> parse_addresses(std::string_view comma_separated);

}  // namespace understudy
