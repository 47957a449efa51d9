#include "guest/kernel/address_space.hpp"

#include <cstring>

#include "guest/kernel/control.hpp"
#include "guest/kernel/heap.hpp"
#include "guest/kernel/panic.hpp"

namespace understudy::kernel {

namespace {
constinit AddressSpace the_address_space;

bool is_clear(const std::uint64_t* words) {
    for (std::size_t i = 0; i < kPageSize / sizeof *words; i += 8) {
        if ((words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] | words[i + 5] | words[i + 6] |
             words[i + 7]) != 0) {
            return false;
        }
    }
    return true;
}
}  // namespace

AddressSpace& address_space() {
    return the_address_space;
}

void AddressSpace::initialize(const abi::Boot& boot) {
    mappings_ = boot.mappings;
    const std::size_t pages = mappings_.size / kPageSize;
    const std::size_t words = PageMap::words_for(pages);
    auto* bits = static_cast<std::uint64_t*>(heap().allocate(words * sizeof(std::uint64_t)));
    if (bits == nullptr) {
        panic("the kernel heap cannot hold the map of the memory");
    }
    std::memset(bits, 0, words * sizeof(std::uint64_t));
    map_ = PageMap({bits, words}, pages);
    break_start_ = break_ = page_up(boot.program_image.base + boot.program_image.size);
}

std::uint64_t AddressSpace::set_break(std::uint64_t wanted) {
    if (wanted < break_start_ || wanted > mappings_.base) {
        return break_;
    }
    if (wanted < break_) {
        std::memset(reinterpret_cast<void*>(wanted), 0, std::min(page_up(wanted), break_) - wanted);
        clear(page_up(wanted), page_up(break_) - page_up(wanted));
    }
    break_ = wanted;
    return break_;
}

void AddressSpace::clear(std::uint64_t address, std::uint64_t size) {
    for (std::uint64_t page = address; page < address + size; page += kPageSize) {
        auto* words = reinterpret_cast<std::uint64_t*>(page);
        if (!is_clear(words)) {
            std::memset(words, 0, kPageSize);
        }
    }
}

bool AddressSpace::in_mappings(std::uint64_t address, std::uint64_t size) const {
    return address >= mappings_.base && size <= mappings_.size && address - mappings_.base <= mappings_.size - size;
}

std::optional<std::uint64_t> AddressSpace::map(std::uint64_t size) {
    const auto first = map_.allocate(page_up(size) / kPageSize);
    return first ? std::optional(mappings_.base + *first * kPageSize) : std::nullopt;
}

bool AddressSpace::map_at(std::uint64_t address, std::uint64_t size) {
    if (!in_mappings(address, page_up(size))) {
        return false;
    }
    unmap(address, size);
    map_.take(page_of(address), page_up(size) / kPageSize);
    return true;
}

void AddressSpace::unmap(std::uint64_t address, std::uint64_t size) {
    const std::uint64_t end = std::min(page_up(address + size), mappings_.base + mappings_.size);
    for (std::uint64_t at = std::max(address, mappings_.base); at < end; at += kPageSize) {
        if (map_.used(page_of(at))) {
            clear(at, kPageSize);
            map_.release(page_of(at), 1);
        }
    }
}

bool AddressSpace::is_free(std::uint64_t address, std::uint64_t size) const {
    return in_mappings(address, page_up(size)) && map_.all_free(page_of(address), page_up(size) / kPageSize);
}

bool AddressSpace::is_mapped(std::uint64_t address, std::uint64_t size) const {
    if (in_mappings(address, page_up(size))) {
        return map_.all_used(page_of(address), page_up(size) / kPageSize);
    }
    const std::uint64_t end = address + size;
    const abi::Region stack = boot().user_stack;
    return (address >= boot().program_image.base && end <= page_up(break_)) ||
           (address >= stack.base && end <= stack.base + stack.size);
}

bool AddressSpace::extend(std::uint64_t address, std::uint64_t old_size, std::uint64_t new_size) {
    const std::uint64_t end = address + page_up(old_size);
    const std::uint64_t growth = page_up(new_size) - page_up(old_size);
    if (!is_free(end, growth)) {
        return false;
    }
    map_.take(page_of(end), growth / kPageSize);
    return true;
}

}  // namespace understudy::kernel
