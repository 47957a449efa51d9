#include "hypervisor/machine/code/hints.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace understudy::machine {
namespace {

bool executable(const ElfImage& image, std::uint64_t address) {
    return std::ranges::any_of(image.segments, [&](const Segment& segment) {
        return segment.executable && address - segment.address < segment.bytes.size();
    });
}

template <typename T>
std::optional<T> read(const ElfImage& image, std::uint64_t address) {
    for (const Segment& segment : image.segments) {
        const std::uint64_t offset = address - segment.address;
        if (offset < segment.bytes.size() && segment.bytes.size() - offset >= sizeof(T)) {
            T value;
            std::memcpy(&value, segment.bytes.data() + offset, sizeof value);
            return value;
        }
    }
    return std::nullopt;
}

void add_words(const ElfImage& image, std::uint64_t bias, CodeHints& hints) {
    for (const Segment& segment : image.segments) {
        const std::uint64_t first = (8 - segment.address % 8) % 8;
        for (std::uint64_t at = first; at + 8 <= segment.bytes.size(); at += 8) {
            std::uint64_t word;
            std::memcpy(&word, segment.bytes.data() + at, sizeof word);
            if (word != 0 && executable(image, word)) {
                hints.labels.push_back(word + bias);
            }
        }
    }
}

// .eh_frame_hdr as linkers write it: a version, three encodings, the address of .eh_frame, the number of entries, and
// for each entry the distances of a function and of its description from the table's begin.
void add_unwind_table(const ElfImage& image, std::uint64_t bias, CodeHints& hints) {
    constexpr std::array<std::uint8_t, 4> kUsual = {1, 0x1b, 0x03, 0x3b};
    constexpr std::uint64_t kHeader = 12;
    constexpr std::uint64_t kEntry = 8;
    const std::uint64_t table = image.unwind_table;
    if (table == 0 || read<std::array<std::uint8_t, 4>>(image, table) != kUsual) {
        return;
    }
    const std::uint64_t count = read<std::uint32_t>(image, table + 8).value_or(0);
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto distance = read<std::int32_t>(image, table + kHeader + i * kEntry);
        if (!distance) {
            return;
        }
        hints.labels.push_back(table + static_cast<std::uint64_t>(std::int64_t{*distance}) + bias);
    }
}

}  // namespace

CodeHints code_hints(const ElfImage& image, std::uint64_t bias) {
    CodeHints hints;
    hints.functions.push_back(image.entry + bias);
    for (const Section& section : image.code_sections) {
        hints.sections.push_back({section.address + bias, section.size});
    }
    std::vector<Symbol> symbols = image.symbols;
    std::ranges::stable_sort(symbols, {}, &Symbol::address);
    for (const Symbol& symbol : symbols) {
        if (!executable(image, symbol.address)) {
            continue;
        }
        switch (symbol.kind) {
            case SymbolKind::function:
                hints.functions.push_back(symbol.address + bias);
                break;
            case SymbolKind::object:
                hints.data.push_back({symbol.address + bias, std::max<std::uint64_t>(symbol.size, 1)});
                break;
            case SymbolKind::untyped:
                hints.labels.push_back(symbol.address + bias);
                break;
        }
    }
    add_words(image, bias, hints);
    add_unwind_table(image, bias, hints);
    return hints;
}

}  // namespace understudy::machine
