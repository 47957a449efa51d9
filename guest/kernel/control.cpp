#include "guest/kernel/control.hpp"

#include <string_view>

namespace understudy::kernel {

void fill_random(std::span<std::uint8_t> bytes) {
    while (!bytes.empty()) {
        const auto count = std::min<std::size_t>(bytes.size(), abi::kMaxEntropy);
        stop<abi::kPortEntropy>(static_cast<std::uint32_t>(count));
        for (std::size_t i = 0; i < count; ++i) {
            bytes[i] = control().answer[i];
        }
        bytes = bytes.subspan(count);
    }
}

}  // namespace understudy::kernel
