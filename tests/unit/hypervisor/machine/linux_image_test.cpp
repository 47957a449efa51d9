// What a Linux guest starts from: the files that make it up are an operator's, and may be anything.
#include "hypervisor/machine/linux_image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "common/error.hpp"
#include "hypervisor/engine/x86.hpp"
#include "tests/unit/hypervisor/machine/linux_image_files.hpp"

namespace understudy::machine {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class LinuxImage : public LinuxImageFiles {
  protected:
    // What is said of the config; empty when it is taken.
    [[nodiscard]] std::string failure() const {
        try {
            static_cast<void>(load_linux(config_));
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    }
};

TEST_F(LinuxImage, TakesWhatIsWhole) {
    EXPECT_EQ(failure(), "");
}

TEST_F(LinuxImage, SaysWhichFileIsMissing) {
    for (std::string* const file : {&config_.kernel, &config_.layer, &config_.initrd}) {
        const std::string whole = std::exchange(*file, (folder_.path() / "nowhere").string());
        EXPECT_THAT(failure(), AllOf(HasSubstr("nowhere"), HasSubstr("No such file")));
        *file = folder_.path().string();
        EXPECT_THAT(failure(), AllOf(HasSubstr(folder_.path().string()), HasSubstr("regular file")));
        *file = whole;
    }
}

TEST_F(LinuxImage, RefusesAKernelWithoutTheOverlay) {
    config_.kernel = write("plain", elf_file(kText, "text", {{"startup_64", kText}}));
    EXPECT_THAT(failure(), AllOf(HasSubstr("plain"), HasSubstr("name build/guest/linux/vmlinux")));
    config_.kernel = write("elsewhere", kernel_file(0x400000));
    EXPECT_THAT(failure(), AllOf(HasSubstr("elsewhere"), HasSubstr("linked at 0x400000")));
}

TEST_F(LinuxImage, RefusesAKernelWhoseSymbolsLieOutsideIt) {
    for (const std::uint64_t control :
         {std::uint64_t{0}, kText + 3 * kPage, kText + kPage + 8, kKernelMap, ~0UL, ~0UL - kPage + 1}) {
        config_.kernel = write("vmlinux", kernel_file(kText, control));
        EXPECT_THAT(failure(), HasSubstr("its understudy_control is at")) << control;
    }
}

TEST_F(LinuxImage, RefusesAnotherVersionsLayer) {
    config_.layer = write("old", layer_file(UNDERSTUDY_PV_VERSION - 1));
    EXPECT_THAT(failure(), AllOf(HasSubstr("old is not this version's"), HasSubstr("name build/guest/linux/layer")));
    config_.layer = config_.kernel;
    EXPECT_THAT(failure(), HasSubstr("is not this version's paravirtual layer"));
    config_.layer = write("large", layer_file(UNDERSTUDY_PV_VERSION, UNDERSTUDY_TABLES_OFFSET + 1));
    EXPECT_THAT(failure(), HasSubstr("is not this version's paravirtual layer"));
}

// Cut or damaged anywhere, a file is refused in words or taken; whatever is taken is written without harm.
TEST_F(LinuxImage, DamagedFilesHarmNobody) {
    GuestMemory memory(whole_memory(config_.memory), GuestMemory::Population::later);
    const std::pair<std::string*, std::string> files[] = {{&config_.kernel, kernel_file()},
                                                          {&config_.layer, layer_file(UNDERSTUDY_PV_VERSION)}};
    for (const auto& named : files) {
        std::string* const file = named.first;
        const std::string& whole = named.second;
        const auto attempt = [&](const std::string& damaged) {
            *file = write("damaged", damaged);
            try {
                const LoadedLinux loaded = load_linux(config_);
                static_cast<void>(write_linux_image(loaded, memory));
            } catch (const Error&) {
            }
        };
        for (std::size_t size = 0; size < whole.size(); size += 61) {
            attempt(whole.substr(0, size));
        }
        const std::size_t tables = whole.size() - 3 * sizeof(Elf64_Shdr) - 3 * sizeof(Elf64_Sym) - 40;
        for (std::size_t at = 0; at < whole.size(); at += at == 280 ? tables - at : 1) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ 0xa5);
            attempt(damaged);
        }
        *file = write("whole", whole);
    }
}

TEST_F(LinuxImage, SaysHowMuchMemoryWouldDo) {
    config_.memory = 2_MiB;
    const std::string text = failure();
    ASSERT_THAT(text, AllOf(HasSubstr("2 MiB of guest memory is too small"), HasSubstr("--memory ")));
    const std::uint64_t enough = std::stoull(text.substr(text.find("--memory ") + 9));
    config_.memory = {enough << 20};
    EXPECT_EQ(failure(), "");
    config_.memory = {(enough - 2) << 20};
    EXPECT_THAT(failure(), HasSubstr("too small"));
}

TEST_F(LinuxImage, RefusesMemoryThatHasNoTables) {
    config_.memory = {(64U << 20) + kPage};
    EXPECT_THAT(failure(), HasSubstr("a multiple of 2 MiB"));
    config_.memory = {std::uint64_t{65} << 30};
    EXPECT_THAT(failure(), HasSubstr("at most 64 GiB"));
    config_.memory = {0};
    EXPECT_THAT(failure(), HasSubstr("too small"));
}

TEST_F(LinuxImage, RefusesAnInitialFileSystemThatLinuxCannotStartWith) {
    const std::string path = write("huge", "");
    config_.initrd = path;
    config_.memory = 1024_MiB;
    constexpr std::uint64_t kHigh = kKernelMap + (500U << 20);
    config_.kernel = write("high", elf_file(kHigh, std::string(3 * kPage, 'k'),
                                            {{"startup_xen", kHigh}, {"understudy_control", kHigh + kPage}}));
    std::filesystem::resize_file(path, 8U << 20);
    EXPECT_EQ(failure(), "");
    std::filesystem::resize_file(path, 12U << 20);
    EXPECT_THAT(failure(), AllOf(HasSubstr("12 MiB"), HasSubstr("too large")));
    std::filesystem::resize_file(path, std::uint64_t{3} << 30);
    EXPECT_THAT(failure(), AllOf(HasSubstr("huge"), HasSubstr("larger than 512 MiB")));
}

TEST_F(LinuxImage, RefusesACommandLineThatIsTooLong) {
    config_.command_line.assign(2000, 'x');
    EXPECT_THAT(failure(), HasSubstr("command line is longer than"));
}

// The processor's walk through the tables that the guest starts on.
std::optional<std::uint64_t> translate(const GuestMemory& memory, std::uint64_t root, std::uint64_t address) {
    std::uint64_t table = root;
    for (int level = 4; level > 0; --level) {
        const std::uint64_t place = table + (address >> (3 + 9 * level) & 511) * sizeof(std::uint64_t);
        std::uint64_t entry = 0;
        std::memcpy(&entry, memory.range({place}, sizeof entry).value().data(), sizeof entry);
        if ((entry & x86::kPresent) == 0) {
            return std::nullopt;
        }
        // The processor never has to write one.
        EXPECT_EQ(entry & (x86::kAccessed | x86::kUser), x86::kAccessed | x86::kUser);
        EXPECT_EQ((entry & x86::kWritable) != 0, (entry & x86::kDirty) != 0);
        table = entry & 0x000ffffffffff000;
        if (level == 1 || (entry & x86::kLarge) != 0) {
            const std::uint64_t within = (std::uint64_t{1} << (3 + 9 * level)) - 1;
            return (table & ~within) + (address & within);
        }
    }
    return std::nullopt;
}

class WrittenLinuxImage : public LinuxImage {
  protected:
    [[nodiscard]] std::uint64_t physical(std::uint64_t address) const {
        return translate(memory_, state_.page_table, address).value();
    }
    template <typename T>
    [[nodiscard]] T at(std::uint64_t address) const {
        T value{};
        std::memcpy(&value, memory_.range({physical(address)}, sizeof value).value().data(), sizeof value);
        return value;
    }

    LoadedLinux linux_ = load_linux(config_);
    GuestMemory memory_{whole_memory(config_.memory), GuestMemory::Population::later};
    engine::BootState state_ = write_linux_image(linux_, memory_);
};

TEST_F(WrittenLinuxImage, BeginsInTheLayerAndKnowsTheKernelsEntry) {
    EXPECT_EQ(state_.registers.rip, UNDERSTUDY_LAYER_ADDRESS + 0x500U);
    EXPECT_EQ(state_.registers.general[engine::kRax], kText + 64);
    EXPECT_EQ(physical(state_.registers.rip), config_.memory.value + 0x500);
    EXPECT_EQ(physical(kText), kText - kKernelMap);
    EXPECT_EQ(at<char>(kText), 'k');
    EXPECT_TRUE(translate(memory_, state_.page_table, state_.registers.general[engine::kRsp] - 8));
}

TEST_F(WrittenLinuxImage, TellsTheKernelWhatItHas) {
    const std::uint64_t info = state_.registers.general[engine::kRsi];
    // Of Xen's start_info: magic, pages, shared_info.
    EXPECT_EQ(at<std::uint64_t>(info + 32), config_.memory.value / kPage);
    EXPECT_EQ(at<std::uint64_t>(info + 40), config_.memory.value + UNDERSTUDY_SHARED_OFFSET);
    const auto head = at<understudy_layer>(UNDERSTUDY_LAYER_ADDRESS);
    EXPECT_EQ(head.memory_bytes, config_.memory.value);
    EXPECT_EQ(head.page_table, state_.page_table);
    EXPECT_EQ(head.control, kText + kPage - kKernelMap);
    EXPECT_GT(head.cpuid_entries, 3U);
}

TEST_F(WrittenLinuxImage, MapsAllMemoryOnceMoreForTheLayer) {
    for (const std::uint64_t at :
         {std::uint64_t{0}, kText - kKernelMap, config_.memory.value, memory_.size().value - 1}) {
        EXPECT_EQ(physical(UNDERSTUDY_PHYSICAL_ADDRESS + at), at);
    }
    EXPECT_FALSE(translate(memory_, state_.page_table, UNDERSTUDY_PHYSICAL_ADDRESS + memory_.size().value));
    EXPECT_FALSE(translate(memory_, state_.page_table, UNDERSTUDY_CONTROL_ADDRESS)) << "nothing of programs yet";
}

// IOPL is 0 everywhere: ring 3 has the ports of the task segment's bitmap, and those are the layer's.
TEST_F(WrittenLinuxImage, GivesRing3ThePortsOfTheLayer) {
    const std::uint64_t bitmap = state_.tss + at<std::uint16_t>(state_.tss + x86::kTssBitmapPointer);
    ASSERT_LE(bitmap + x86::kTssPorts / 8, state_.tss + state_.tss_size) << "with the byte of ones behind it";
    const auto refused = [&](unsigned port) { return (at<std::uint8_t>(bitmap + port / 8) >> port % 8 & 1) != 0; };
    for (const unsigned port : {0U + UNDERSTUDY_PORT_IDLE, 0U + UNDERSTUDY_PORT_FLUSH, 0U + UNDERSTUDY_PORT_PAGE_TABLE,
                                0U + UNDERSTUDY_PORT_FAULT_ADDRESS}) {
        for (unsigned byte = 0; byte < 4; ++byte) {
            EXPECT_FALSE(refused(port + byte)) << port << " takes EAX";
        }
    }
    for (const unsigned port : {0x60U, 0x70U, 0x80U, 0xffU}) {
        EXPECT_TRUE(refused(port)) << port;
    }
    EXPECT_EQ(at<std::uint8_t>(state_.tss + state_.tss_size), 0xff);
    EXPECT_EQ(state_.registers.rflags, 0x202U);
}

// An interrupt gate would turn interrupts off, on a processor, and no IRET of ring 3 turns them on again: PUSHF shows
// it.
TEST_F(WrittenLinuxImage, LeavesInterruptsOnInExceptions) {
    for (std::uint64_t vector = 0; vector < 256; ++vector) {
        constexpr std::uint64_t kType = 5;  // of the gate's bytes
        // Breakpoint and overflow are for programs to ask for, as INT n.
        EXPECT_EQ(at<std::uint8_t>(state_.idt + vector * 16 + kType), vector == 3 || vector == 4 ? 0xef : 0x8f)
            << vector << ": a trap gate";
    }
}

TEST_F(WrittenLinuxImage, HasTheFileSystemBehindTheKernel) {
    const std::uint64_t place = kText + 3 * kPage;
    EXPECT_EQ(at<char>(place), 'i');
    EXPECT_EQ(at<char>(place + 3 * kPage), 'i');
    EXPECT_EQ(at<char>(place + 3 * kPage + 1), '\0');
}

}  // namespace
}  // namespace understudy::machine
