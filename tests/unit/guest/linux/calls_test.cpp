// What the kernel's overlay makes of system calls in Debian's own files: checked against objdump's listing of them.
#include <elf.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "guest/abi/paravirtual.h"
#include "tests/unit/guest/linux/sites.hpp"
#include "tools/process/run.hpp"

namespace understudy::linux_guest {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kLoadBytes = 5;
constexpr std::size_t kSyscallBytes = 2;
using Code = std::vector<std::uint8_t>;

Code content_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    return {bytes.begin(), bytes.end()};
}

template <typename T>
T read(const Code& code, std::size_t at) {
    T value{};
    if (at + sizeof value <= code.size()) {
        std::memcpy(&value, code.data() + at, sizeof value);
    }
    return value;
}

// --- The listing: instructions by address
// ---------------------------------------------------------------------

struct Listed {
    std::size_t bytes = 0;
    std::string text;
};
using Listing = std::map<std::uint64_t, Listed>;

Listing listing_of(const std::string& path) {
    const auto output = tools::run_to_end({"/bin/sh", "-c", fmt::format("objdump -d -w '{}'", path)}).output;
    Listing listing;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t bytes_at = line.find(":\t");
        const std::size_t text_at = line.find('\t', bytes_at + 2);
        if (bytes_at == std::string::npos || text_at == std::string::npos) {
            continue;
        }
        std::istringstream bytes(line.substr(bytes_at + 2, text_at - bytes_at - 2));
        const auto count = std::distance(std::istream_iterator<std::string>(bytes), {});
        listing[std::stoull(line.substr(0, bytes_at), nullptr, 16)] = {static_cast<std::size_t>(count),
                                                                       line.substr(text_at + 1)};
    }
    return listing;
}

// Where direct jumps and calls lead.
std::set<std::uint64_t> targets_of(const Listing& listing) {
    std::set<std::uint64_t> targets;
    for (const auto& [address, instruction] : listing) {
        std::istringstream words(instruction.text);
        std::string name;
        std::string operand;
        words >> name >> operand;
        if ((name[0] == 'j' || name == "call") && !operand.empty() && std::isxdigit(operand[0]) != 0) {
            targets.insert(std::stoull(operand, nullptr, 16));
        }
    }
    return targets;
}

bool is_padding(const std::string& text) {
    return text.find("nop") != std::string::npos || text.starts_with("int3") || text.starts_with("xchg   %ax,%ax");
}

bool loads_number(const std::string& text) {
    return text.starts_with("mov    $0x") && text.ends_with(",%eax");
}

// --- What a processor would do
// --------------------------------------------------------------------------------

struct Arrival {
    std::uint32_t word = 0;
    bool has_page = false;
};

// Follows stubs from `at` to the jump through the control page. No arrival: anything else was met.
bool follow(const Code& page, std::size_t at, Arrival& arrival) {
    static const Code load_page = {0x4c, 0x8d, 0x1d, 0, 0, 0, 0};
    static const Code leave = {0xff, 0x24, 0x25, 0x18, 0x00, 0x04, 0x00};
    bool has_word = false;
    const auto reads = [&](const Code& code) {
        return at + code.size() <= kPage && std::equal(code.begin(), code.end(), page.begin() + static_cast<long>(at));
    };
    for (int i = 0; i < 8 && at + 2 <= kPage; ++i) {
        if (reads(load_page)) {
            arrival.has_page = true;
            at += load_page.size();
        } else if (reads(leave)) {
            return has_word && arrival.has_page;
        } else if (page[at] == 0xb9) {
            has_word = true;
            arrival.word = read<std::uint32_t>(page, at + 1);
            at += kLoadBytes;
        } else if (page[at] == 0xeb) {
            at += 2 + static_cast<std::size_t>(std::int64_t{read<std::int8_t>(page, at + 1)});
        } else if (page[at] == 0xe9) {
            at += 5 + static_cast<std::size_t>(std::int64_t{read<std::int32_t>(page, at + 1)});
        } else {
            return false;
        }
    }
    return false;
}

struct File {
    Code bytes;
    Listing listing;
    std::set<std::uint64_t> targets = targets_of(listing);
};

// A rewritten page of a file, linked at `address`.
class Checked {
  public:
    Checked(const File& file, std::size_t offset, std::uint64_t address)
        : file_(file), offset_(offset), address_(address), page_(rewrite_calls(file.bytes, offset)) {}

    // How many calls there are in it, and how many were rewritten by what it says and by what is seen.
    unsigned calls = 0;
    unsigned said() const { return page_.calls; }
    unsigned seen = 0;

    void check() {
        for (auto at = file_.listing.lower_bound(address_);
             at != file_.listing.end() && at->first + kSyscallBytes <= address_ + kPage; ++at) {
            if (at->second.text.starts_with("syscall")) {
                ++calls;
                check_call(at);
            }
        }
        for (std::size_t at = 0; at < kPage; ++at) {
            if (page_.text[at] != original(at) && !may_change(address_ + at)) {
                ADD_FAILURE() << fmt::format("{:#x} was changed", address_ + at);
            }
        }
    }

  private:
    std::uint8_t original(std::size_t at) const {
        return offset_ + at < file_.bytes.size() ? file_.bytes[offset_ + at] : 0;
    }

    void check_call(Listing::const_iterator call) {
        const std::size_t at = call->first - address_;
        const std::size_t behind = at + kSyscallBytes;
        Arrival arrival;
        if (page_.text[at] != 0x0f) {
            ++seen;
            EXPECT_TRUE(follow(page_.text, at, arrival)) << fmt::format("{:#x}", call->first);
            EXPECT_EQ(arrival.word, UNDERSTUDY_CALL_NUMBERED | behind) << fmt::format("{:#x}", call->first);
        } else if (at >= kLoadBytes && page_.text[at - kLoadBytes] != original(at - kLoadBytes)) {
            ++seen;
            EXPECT_TRUE(loads_number(std::prev(call)->second.text)) << fmt::format("{:#x}", call->first);
            EXPECT_TRUE(follow(page_.text, at - kLoadBytes, arrival)) << fmt::format("{:#x}", call->first);
            const auto number = read<std::uint32_t>(file_.bytes, offset_ + at - 4);
            EXPECT_EQ(arrival.word, number << UNDERSTUDY_CALL_NUMBER_SHIFT | behind)
                << fmt::format("{:#x}", call->first);
        }
    }

    // Sites, what loads a number before one, and padding.
    bool may_change(std::uint64_t address) const {
        const auto at = std::prev(file_.listing.upper_bound(address));
        if (at->second.text.starts_with("syscall")) {
            return true;
        }
        if (is_padding(at->second.text)) {
            return !file_.targets.contains(address);
        }
        const auto next = std::next(at);
        return loads_number(at->second.text) && next != file_.listing.end() && next->second.text.starts_with("syscall");
    }

    const File& file_;
    std::size_t offset_;
    std::uint64_t address_;
    RewrittenPage page_;
};

struct Wanted {
    const char* path;
    double share;  // of its system calls that are rewritten, at least
};

class Calls : public testing::TestWithParam<Wanted> {};
TEST_P(Calls, LeadToTheLayerAndChangeNothingElse) {
    const auto [path, share] = GetParam();
    if (!std::filesystem::exists(path)) {
        GTEST_SKIP() << path << " is not installed";
    }
    const File file{content_of(path), listing_of(path)};
    const auto header = read<Elf64_Ehdr>(file.bytes, 0);
    unsigned calls = 0;
    unsigned rewritten = 0;
    for (unsigned i = 0; i < header.e_phnum; ++i) {
        const auto segment = read<Elf64_Phdr>(file.bytes, header.e_phoff + i * sizeof(Elf64_Phdr));
        if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) {
            continue;
        }
        for (std::size_t page = segment.p_offset / kPage * kPage; page < segment.p_offset + segment.p_filesz;
             page += kPage) {
            Checked checked(file, page, page - segment.p_offset + segment.p_vaddr);
            checked.check();
            EXPECT_EQ(checked.said(), checked.seen);
            calls += checked.calls;
            rewritten += checked.seen;
        }
    }
    EXPECT_GE(rewritten, share * calls) << rewritten << " of " << calls;
    RecordProperty("calls", static_cast<int>(calls));
    RecordProperty("rewritten", static_cast<int>(rewritten));
}
INSTANTIATE_TEST_SUITE_P(Debians, Calls,
                         testing::Values(Wanted{"/usr/lib/x86_64-linux-gnu/libc.so.6", 0.8},
                                         Wanted{"/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", 0.7},
                                         Wanted{"/usr/lib/x86_64-linux-gnu/libcrypto.so.3", 0},
                                         Wanted{"/usr/bin/redis-server", 0}));

TEST(CallsOfNoFile, AreLeftAlone) {
    // mov $39, %eax; syscall; ret; and padding, of which nobody says that it is that.
    Code page(kPage, 0x90);
    const Code code = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3};
    std::copy(code.begin(), code.end(), page.begin() + 64);
    const RewrittenPage rewritten = rewrite_calls(page, 0);
    EXPECT_EQ(rewritten.calls, 0U);
    EXPECT_EQ(rewritten.text, page);
}

}  // namespace
}  // namespace understudy::linux_guest
