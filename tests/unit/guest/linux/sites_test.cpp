// What the kernel's overlay finds in programs' pages, in pages made here and in files of Debian's.
#include "tests/unit/guest/linux/sites.hpp"

#include <elf.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "tools/process/run.hpp"

namespace understudy::linux_guest {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kPage = 4096;
constexpr std::uint8_t kNop = 0x90;
using Code = std::vector<std::uint8_t>;

Code page_with(std::size_t at, const Code& code) {
    Code page(kPage, kNop);
    std::ranges::copy(code, page.begin() + static_cast<std::ptrdiff_t>(at));
    return page;
}

struct Instruction {
    const char* name;
    Code code;
    std::size_t opcode = 0;
    // Taken for code where no function is described, and data may lie beside it.
    bool asked_for = true;
};

class Site : public testing::TestWithParam<Instruction> {};
TEST_P(Site, IsFoundWhereverItIs) {
    const auto& [name, code, opcode, asked_for] = GetParam();
    for (const std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{700}, kPage - code.size()}) {
        const auto found = find_sites_in_memory(page_with(at, code));
        if (asked_for) {
            EXPECT_THAT(found, ElementsAre(at + opcode)) << name << " at " << at;
        } else {
            EXPECT_THAT(found, IsEmpty()) << name << " at " << at;
        }
    }
    // Its bytes as the constant of another instruction: movabs $..., %rax.
    Code constant = {0x48, 0xb8};
    constant.insert(constant.end(), code.begin() + static_cast<std::ptrdiff_t>(opcode), code.end());
    constant.resize(10, 0);
    EXPECT_THAT(find_sites_in_memory(page_with(1000, constant)), IsEmpty()) << name;
}
INSTANTIATE_TEST_SUITE_P(
    All, Site,
    testing::Values(
        Instruction{"cpuid, behind xorl %eax, %eax", {0x31, 0xc0, 0x0f, 0xa2}, 2},
        Instruction{"cpuid, behind movl $0x80000001, %eax; xorl %ecx, %ecx",
                    {0xb8, 0x01, 0, 0, 0x80, 0x31, 0xc9, 0x0f, 0xa2},
                    7},
        Instruction{"xgetbv", {0x0f, 0x01, 0xd0}}, Instruction{"xtest", {0x0f, 0x01, 0xd6}},
        Instruction{"fxsave 0x40(%rsp)", {0x0f, 0xae, 0x44, 0x24, 0x40}},
        Instruction{"xsavec 0x40(%rsp)", {0x0f, 0xc7, 0x64, 0x24, 0x40}},
        Instruction{"xbegin, before cmpl $-1, %eax", {0xc7, 0xf8, 0, 0, 0, 0, 0x83, 0xf8, 0xff}},
        Instruction{"cpuid, behind movl $2, %eax and more",
                    {0xb8, 0x02, 0,    0, 0,    0x41, 0x57, 0x48, 0x83, 0xec, 0x18, 0xc6,
                     0x44, 0x24, 0x0e, 0, 0xc6, 0x44, 0x24, 0x0f, 0,    0x0f, 0xa2},
                    21},
        Instruction{"fxsave64", {0x48, 0x0f, 0xae, 0x07}, 1, false}, Instruction{"xsave", {0x0f, 0xae, 0x27}, 0, false},
        Instruction{"xsavec", {0x0f, 0xc7, 0x27}, 0, false},
        Instruction{"rdrand, before jnc", {0x48, 0x0f, 0xc7, 0xf0, 0x73, 0xfa}, 1},
        Instruction{"rdseed, before setc %cl", {0x41, 0x0f, 0xc7, 0xf8, 0x0f, 0x92, 0xc1}, 1},
        Instruction{"rdpid", {0xf3, 0x0f, 0xc7, 0xf8}, 1}, Instruction{"tpause", {0x66, 0x0f, 0xae, 0xf0}, 1, false},
        Instruction{"fnstenv", {0xd9, 0x37}, 0, false},
        Instruction{"fnstenv, before stmxcsr 28(%rdi)", {0xd9, 0x37, 0x0f, 0xae, 0x5f, 0x1c}},
        Instruction{"fnstenv, before fldenv (%rdi)", {0xd9, 0x37, 0x31, 0xc0, 0xd9, 0x27}},
        Instruction{"cpuid, behind movq $1, %rax", {0x48, 0xc7, 0xc0, 0x01, 0, 0, 0, 0x0f, 0xa2}, 7},
        Instruction{"fnsave", {0xdd, 0x37}, 0, false},
        Instruction{"lsl, behind movl $0x7b, %eax", {0xb8, 0x7b, 0, 0, 0, 0x0f, 0x03, 0xc8}, 5},
        Instruction{"rdpmc", {0x0f, 0x33}, 0, false}, Instruction{"xbegin", {0xc7, 0xf8, 0, 0, 0, 0}, 0, false}));

class Harmless : public testing::TestWithParam<Instruction> {};
TEST_P(Harmless, InstructionIsNone) {
    EXPECT_THAT(find_sites_in_memory(page_with(700, GetParam().code)), IsEmpty()) << GetParam().name;
}
INSTANTIATE_TEST_SUITE_P(
    All, Harmless,
    testing::Values(Instruction{"cpuid that nobody asks", {0x0f, 0xa2}},
                    Instruction{"cpuid behind another function", {0x31, 0xc0, 0xc3, 0x0f, 0xa2}},
                    Instruction{"rdrand that nobody looks at", {0x0f, 0xc7, 0xf0}},
                    Instruction{"a number like lsl", {0x0f, 0x03, 0xc8}}, Instruction{"mfence", {0x0f, 0xae, 0xf0}},
                    Instruction{"lfence", {0x0f, 0xae, 0xe8}}, Instruction{"sfence", {0x0f, 0xae, 0xf8}},
                    Instruction{"ldmxcsr", {0x0f, 0xae, 0x17}}, Instruction{"fxrstor", {0x0f, 0xae, 0x0f}},
                    Instruction{"rdfsbase", {0xf3, 0x48, 0x0f, 0xae, 0xc0}},
                    Instruction{"cmpxchg16b", {0x48, 0x0f, 0xc7, 0x0f}}, Instruction{"rdtsc", {0x0f, 0x31}},
                    Instruction{"rdtscp", {0x0f, 0x01, 0xf9}}, Instruction{"syscall", {0x0f, 0x05}},
                    Instruction{"fldenv", {0xd9, 0x27}}, Instruction{"fsin", {0xd9, 0xfe}},
                    Instruction{"movl $0x20f, %edi", {0xbf, 0x0f, 0x02, 0x00, 0x00}},
                    Instruction{"movq $0, 0xff0(%rsp)", {0x48, 0xc7, 0x84, 0x24, 0xf0, 0x0f, 0, 0, 0, 0, 0, 0}}));

TEST(Sites, AreReplacedInTheirFirstByteAlone) {
    EXPECT_EQ(replaced(0x0f), 0xd6);
    EXPECT_EQ(replaced(0xd9), 0x0e);
    EXPECT_EQ(replaced(0xdd), 0x1e);
    EXPECT_EQ(replaced(0xc7), 0x16);
}

TEST(Sites, AcrossTheBorderOfPagesBelongToThePageOfTheirOpcode) {
    // Programs' files, in which the neighbours can be read.
    Code file(3 * kPage, kNop);
    const auto put = [&](std::size_t at, const Code& code) {
        std::ranges::copy(code, file.begin() + static_cast<std::ptrdiff_t>(at));
    };
    put(0, {0x7f, 'E', 'L', 'F'});
    put(kPage - 3, {0x31, 0xc0, 0x0f, 0xa2});                  // xorl %eax, %eax; cpuid
    put(2 * kPage - 1, {0x48, 0x0f, 0xc7, 0xf0, 0x73, 0xfa});  // rdrand %rax; jnc: its prefix is in the page before
    EXPECT_THAT(find_sites(file, 0), ElementsAre(kPage - 1));
    EXPECT_THAT(find_sites(file, kPage), IsEmpty());
    EXPECT_THAT(find_sites(file, 2 * kPage), ElementsAre(0));
}

// Compilers at run time map nameless files; others write tables into the text of programs.
TEST(Sites, InAFileThatDescribesNoFunctionAreWhatCodeAsksFor) {
    Code file(kPage, kNop);
    const Code code = {0x31, 0xc0, 0x0f, 0xa2, 0xc3, 0x0f, 0x00, 0x00, 0xd9, 0x30};  // xor, cpuid, ret; numbers
    std::ranges::copy(code, file.begin() + 700);
    EXPECT_THAT(find_sites(file, 0), ElementsAre(702));
    std::ranges::copy(Code{0x7f, 'E', 'L', 'F'}, file.begin());
    EXPECT_THAT(find_sites(file, 0), ElementsAre(702));
}

// --- Debian's own files, against objdump
// ---------------------------------------------------------------------------------

std::vector<std::uint8_t> content_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    return {bytes.begin(), bytes.end()};
}

template <typename T>
T read(const Code& file, std::size_t at) {
    T value{};
    std::memcpy(&value, file.data() + at, sizeof value);
    return value;
}

// Addresses as linked.
std::set<std::uint64_t> found_in(const std::string& path) {
    const Code file = content_of(path);
    const auto header = read<Elf64_Ehdr>(file, 0);
    std::set<std::uint64_t> found;
    for (unsigned i = 0; i < header.e_phnum; ++i) {
        const auto segment = read<Elf64_Phdr>(file, header.e_phoff + i * sizeof(Elf64_Phdr));
        if (segment.p_type != PT_LOAD || (segment.p_flags & PF_X) == 0) {
            continue;
        }
        for (std::size_t page = segment.p_offset / kPage * kPage; page < segment.p_offset + segment.p_filesz;
             page += kPage) {
            for (const std::size_t at : find_sites(file, page)) {
                found.insert(page + at - segment.p_offset + segment.p_vaddr);
            }
        }
    }
    return found;
}

// By objdump's reading from start to end: where the opcodes are.
std::set<std::uint64_t> listed_in(const std::string& path) {
    static constexpr const char* kNames =
        "cpuid|fxsave|xsave|xrstor|xgetbv|rdrand|rdseed|rdpid|rdpkru|wrpkru|rdpmc|sysenter|sgdt|sidt|smsw|sldt|str|"
        "verr|verw|lar|lsl|fnstenv|fnsave|fstenv|fsave|xbegin|tpause|umwait|umonitor|xend|xtest";
    const auto listing = tools::run_to_end(
        {"/bin/sh", "-c",
         fmt::format(R"(objdump -d -w '{}' | grep -P '\t([a-zA-Z.]+ )*({})[a-z0-9]*( |$)')", path, kNames)});
    std::istringstream lines(listing.output);
    std::set<std::uint64_t> listed;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line.substr(0, line.rfind('\t')));
        std::string address;
        words >> address;
        std::uint64_t at = std::stoull(address, nullptr, 16);
        static const std::set<std::string> prefixes = {"66", "67", "f2", "f3", "2e", "36",
                                                       "3e", "26", "64", "65", "f0", "9b"};  // FSTENV is FWAIT, FNSTENV
        for (std::string byte; words >> byte && (prefixes.contains(byte) || byte[0] == '4'); ++at) {
        }
        listed.insert(at);
    }
    return listed;
}

class File : public testing::TestWithParam<const char*> {};
TEST_P(File, HasTheSitesThatItsListingHas) {
    const std::string path = GetParam();
    if (!std::filesystem::exists(path)) {
        GTEST_SKIP() << path << " is not installed";
    }
    const auto listed = listed_in(path);
    const auto found = found_in(path);
    std::vector<std::uint64_t> missed;
    std::vector<std::uint64_t> invented;
    std::ranges::set_difference(listed, found, std::back_inserter(missed));
    std::ranges::set_difference(found, listed, std::back_inserter(invented));
    EXPECT_THAT(missed, IsEmpty());
    EXPECT_THAT(invented, IsEmpty());
    RecordProperty("sites", static_cast<int>(found.size()));
}
// In C, in C and assembly, in Go (which says nothing of where its functions are), linked with everything.
INSTANTIATE_TEST_SUITE_P(Debians, File,
                         testing::Values("/bin/busybox", "/usr/bin/redis-server", "/usr/bin/etcdctl",
                                         "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libm.so.6",
                                         "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
                                         "/usr/lib/x86_64-linux-gnu/libgcc_s.so.1"));

}  // namespace
}  // namespace understudy::linux_guest
