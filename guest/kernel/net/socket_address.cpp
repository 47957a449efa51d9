#include "guest/kernel/net/socket_address.hpp"

#include <asm/errno.h>

#include <cstring>

#include "guest/kernel/user.hpp"

namespace understudy::kernel {

Result parse_address(const SocketAddress* address, std::uint32_t size, Endpoint& endpoint) {
    if (size < sizeof(SocketAddress)) {
        return failure(EINVAL);
    }
    if (!accessible(address)) {
        return failure(EFAULT);
    }
    if (address->family != kFamilyInternet) {
        return failure(EAFNOSUPPORT);
    }
    endpoint = {address->address, __builtin_bswap16(address->port)};
    return 0;
}

Result answer_address(const Endpoint& endpoint, int family, SocketAddress* address, std::uint32_t* size) {
    if (!accessible(size)) {
        return failure(EFAULT);
    }
    if (static_cast<std::int32_t>(*size) < 0) {
        return failure(EINVAL);
    }
    SocketAddress answer{static_cast<std::uint16_t>(family), __builtin_bswap16(endpoint.port), endpoint.address, {}};
    const std::uint32_t whole = family == kFamilyInternet ? sizeof answer : sizeof answer.family;
    const std::uint32_t count = std::min(*size, whole);
    if (!accessible(address, count)) {
        return failure(EFAULT);
    }
    std::memcpy(address, &answer, count);
    *size = whole;
    return 0;
}

}  // namespace understudy::kernel
