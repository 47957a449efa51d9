// Options that lwIP keeps in the part that every control block begins with.
#pragma once

#include <asm/errno.h>
#include <linux/in.h>

#include <cstdint>

#include "guest/kernel/net/lwip.hpp"
#include "guest/kernel/result.hpp"

namespace understudy::kernel {

// Sets or clears one of lwIP's flags SOF_....
template <typename ControlBlock>
void set_flag(ControlBlock& block, std::uint8_t flag, bool on) {
    if (on) {
        ip_set_option(&block, flag);
    } else {
        ip_reset_option(&block, flag);
    }
}

// Whether a program may set the option of level IPPROTO_IP to no effect.
constexpr bool is_ip_hint(int option) {
    constexpr int kMtuDiscover = 10;
    constexpr int kReceiveErrors = 11;
    constexpr int kFreeBind = 15;
    constexpr int kBindAddressNoPort = 24;
    return option == kMtuDiscover || option == kReceiveErrors || option == kFreeBind || option == kBindAddressNoPort;
}

// Options of level IPPROTO_IP. Without a block (null) a setting is checked and lost, and the answers are the defaults.
template <typename ControlBlock>
Result set_ip_option(ControlBlock* block, int option, int value) {
    switch (option) {
        case IP_TOS:
            if (block != nullptr) {
                block->tos = static_cast<std::uint8_t>(value);
            }
            return 0;
        case IP_TTL:
            if (value < 1 || value > 255) {
                return failure(EINVAL);
            }
            if (block != nullptr) {
                block->ttl = static_cast<std::uint8_t>(value);
            }
            return 0;
        default:
            return is_ip_hint(option) ? Result(0) : failure(ENOPROTOOPT);
    }
}

template <typename ControlBlock>
Result get_ip_option(const ControlBlock* block, int option, int& value) {
    switch (option) {
        case IP_TOS:
            value = block != nullptr ? block->tos : 0;
            return 0;
        case IP_TTL:
            value = block != nullptr ? block->ttl : IP_DEFAULT_TTL;
            return 0;
        default:
            return failure(ENOPROTOOPT);
    }
}

}  // namespace understudy::kernel
