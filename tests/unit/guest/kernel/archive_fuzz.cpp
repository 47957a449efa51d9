// Any bytes as the small kernel's root archive, as they are and with the checksums of its headers put right: indexing
// it and finding every path in it ends, stays within the bytes and takes no memory but its nodes.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "guest/kernel/archive.hpp"

namespace {

using understudy::kernel::Archive;

constexpr std::size_t kBlock = 512;
constexpr std::size_t kMaxNodes = 4096;

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

struct Nodes {
    alignas(Archive::Node) std::array<std::byte, kMaxNodes * sizeof(Archive::Node)> memory;
    std::size_t used = 0;
};

Nodes& nodes() {
    static Nodes nodes;
    return nodes;
}

void* allocate(std::size_t size) {
    require(size == sizeof(Archive::Node));
    if (nodes().used == kMaxNodes) {
        return nullptr;
    }
    return nodes().memory.data() + size * nodes().used++;
}

void visit(const Archive& archive, const Archive::Node& node, std::size_t& seen) {
    require(++seen <= kMaxNodes + 1);
    std::array<char, 1024> path{};
    const std::size_t length = Archive::path_of(node, path);
    if (length > 0) {
        const auto answer = archive.find(archive.root(), {path.data(), length}, false);
        // A name that no file system allows, or beneath what is no directory any more, is not found.
        require(answer.node != nullptr || answer.outcome != Archive::Lookup::found);
        static_cast<void>(archive.find(node, {path.data(), length}, true));
    }
    if (!node.content.empty()) {
        require(node.content.front() + node.content.back() >= 0);  // they can be read
        const std::string_view text(reinterpret_cast<const char*>(node.content.data()), node.content.size());
        static_cast<void>(archive.find(*node.parent, text, true));
    }
}

void read(std::span<const std::uint8_t> bytes) {
    nodes().used = 0;
    Archive archive;
    archive.open(bytes, &allocate);
    std::vector<const Archive::Node*> open = {&archive.root()};
    std::size_t seen = 0;
    while (!open.empty()) {
        const Archive::Node& node = *open.back();
        open.pop_back();
        visit(archive, node, seen);
        for (const Archive::Node* child = node.first_child; child != nullptr; child = child->next_sibling) {
            require(child->parent == &node);
            open.push_back(child);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::vector<std::uint8_t> bytes(data, data + size);
    read(bytes);
    constexpr std::size_t kChecksum = 148;
    constexpr std::size_t kChecksumBytes = 8;
    for (std::size_t at = 0; at + kBlock <= bytes.size(); at += kBlock) {
        const auto header = std::span(bytes).subspan(at, kBlock);
        unsigned sum = kChecksumBytes * ' ';
        for (std::size_t i = 0; i < kBlock; ++i) {
            sum += i >= kChecksum && i < kChecksum + kChecksumBytes ? 0U : header[i];
        }
        for (std::size_t i = 0; i < kChecksumBytes; ++i) {
            header[kChecksum + i] = static_cast<std::uint8_t>('0' + (sum >> (3 * (kChecksumBytes - 1 - i)) & 7U));
        }
    }
    read(bytes);
    return 0;
}
