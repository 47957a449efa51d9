// Addresses of sockets as the program hands them in and gets them back.
#pragma once

#include <cstdint>

#include "guest/kernel/net/socket.hpp"

namespace understudy::kernel {

// struct sockaddr_in.
struct SocketAddress {
    std::uint16_t family;
    std::uint16_t port;  // network byte order
    std::uint32_t address;
    std::uint8_t zero[8];
};
static_assert(sizeof(SocketAddress) == 16);

// What the program has written at `address`; EINVAL, EFAULT, EAFNOSUPPORT.
Result parse_address(const SocketAddress* address, std::uint32_t size, Endpoint& endpoint);

// Writes an address the way getsockname does: as much as fits, and how much there is.
Result answer_address(const Endpoint& endpoint, int family, SocketAddress* address, std::uint32_t* size);

}  // namespace understudy::kernel
