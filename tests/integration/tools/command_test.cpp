// The command as its users meet it: what it answers to what it cannot do, and what its exit status says.
#include <elf.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace understudy {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
    int status = -1;
    std::string out;
    std::string err;
};

std::string contents(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

class Command : public testing::Test {
  protected:
    Command() {
        std::string name = (std::filesystem::temp_directory_path() / "understudy-test-XXXXXX").string();
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    ~Command() override { std::filesystem::remove_all(directory_); }

    // Runs `understudy <arguments>`, a line for the shell, in a directory of its own.
    Outcome run(const std::string& arguments, const std::string& before = "") {
        const std::string line = fmt::format("cd {0} && {1} {2}/understudy {3} </dev/null >out 2>err",
                                             directory_.string(), before, UNDERSTUDY_BINARY_DIR, arguments);
        const int status = std::system(line.c_str());
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(directory_ / "out"),
                contents(directory_ / "err")};
    }

    std::filesystem::path directory_;
};

std::vector<std::string> subcommands(const std::string& help) {
    std::vector<std::string> names;
    const auto list = help.substr(help.find("Subcommands:\n"));
    for (std::size_t at = list.find("\n  "); at != std::string::npos && list.compare(at, 3, "\n  ") == 0;
         at = list.find('\n', at + 1)) {
        names.push_back(list.substr(at + 3, list.find(' ', at + 3) - at - 3));
    }
    return names;
}

TEST_F(Command, HelpNamesEverySubcommandAndEachHasAnExample) {
    const Outcome help = run("--help");
    ASSERT_EQ(help.status, 0);
    const auto names = subcommands(help.out);
    EXPECT_THAT(names, testing::IsSupersetOf({"doctor", "gateway", "run", "replay"}));
    for (const std::string& name : names) {
        const Outcome one = run(name + " --help");
        EXPECT_EQ(one.status, 0) << name;
        EXPECT_THAT(one.out, HasSubstr("Example")) << name;
        EXPECT_THAT(one.out, HasSubstr("\n  understudy " + name)) << name;
    }
}

TEST_F(Command, VersionIsOneLine) {
    const Outcome version = run("--version");
    EXPECT_EQ(version.status, 0);
    EXPECT_THAT(version.out, testing::MatchesRegex("understudy [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_F(Command, OutputThatCannotBeWrittenIsNoSuccess) {
    EXPECT_NE(std::system(fmt::format("{}/understudy --help >/dev/full 2>/dev/null", UNDERSTUDY_BINARY_DIR).c_str()),
              0);
}

struct Mistake {
    std::string arguments;
    int status;
    std::string answer;
};

std::ostream& operator<<(std::ostream& stream, const Mistake& mistake) {
    return stream << "understudy " << mistake.arguments;
}

// A static executable whose one segment wants 40 GiB.
void write_huge_program(const std::filesystem::path& file) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_entry = 0x400000;
    header.e_phoff = sizeof header;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 1;
    Elf64_Phdr segment{};
    segment.p_type = PT_LOAD;
    segment.p_flags = PF_R | PF_W;
    segment.p_vaddr = header.e_entry;
    segment.p_filesz = sizeof header;
    segment.p_memsz = std::uint64_t{40} << 30;
    segment.p_align = 4096;
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(&header), sizeof header)
        .write(reinterpret_cast<const char*>(&segment), sizeof segment);
}

class Mistakes : public Command, public testing::WithParamInterface<Mistake> {};

TEST_P(Mistakes, AreAnsweredInOneLineThatSaysWhatToDo) {
    std::ofstream(directory_ / "two-vcpus.xml")
        << "<domain type='kvm'>\n<name>kv</name>\n<memory>65536</memory>\n<vcpu>2</vcpu>\n"
           "<os><type arch='x86_64'>hvm</type><kernel>/srv/kv</kernel></os>\n</domain>\n";
    std::ofstream(directory_ / "text") << "no executable\n";
    write_huge_program(directory_ / "huge");
    const Outcome outcome = run(GetParam().arguments);
    EXPECT_EQ(outcome.status, GetParam().status) << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("understudy: "));
    EXPECT_THAT(outcome.err, HasSubstr(GetParam().answer));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_THAT(outcome.err, EndsWith("\n"));
    EXPECT_EQ(outcome.out, "");
}

constexpr int kFailure = 1;
constexpr int kUsage = 2;

INSTANTIATE_TEST_SUITE_P(
    All, Mistakes,
    testing::Values(Mistake{"", kUsage, "see understudy --help"},
                    Mistake{"frobnicate", kUsage, "there is no 'frobnicate' (see understudy --help)"},
                    Mistake{"doctor --frobnicate", kUsage, "see understudy doctor --help"},
                    Mistake{"doctor -- x", kUsage, "-- x"},
                    Mistake{"run", kFailure, "which program is to run? Give --program FILE"},
                    Mistake{"run --program nowhere", kFailure, "nowhere"},
                    Mistake{"run --program text", kFailure, "text"},
                    Mistake{"run --program /bin/sh", kFailure, "/bin/sh"},
                    Mistake{"run --program text --memory 12Q", kFailure, "'12Q' is no size"},
                    Mistake{"run --program huge", kFailure, "huge needs more memory than a guest can have"},
                    Mistake{"run --program text --name 'a b'", kFailure, "is no name for a VM"},
                    Mistake{"run --domain nowhere.xml", kFailure, "nowhere.xml: No such file"},
                    Mistake{"run --domain text", kFailure, "text:1: not well-formed XML"},
                    Mistake{"run --domain two-vcpus.xml", kFailure, "two-vcpus.xml:4: <vcpu> cannot be honoured"},
                    Mistake{"run --program text --domain two-vcpus.xml", kUsage, "excludes"},
                    Mistake{"replay nowhere.log", kFailure, "nowhere.log"}, Mistake{"replay text", kFailure, "text"}));

TEST_F(Command, DoctorSaysTheSameForPeopleAndMachines) {
    const Outcome text = run("doctor");
    const Outcome json = run("doctor --json");
    EXPECT_EQ(text.status, json.status);
    EXPECT_THAT(json.out, HasSubstr(text.status == 0 ? "\"ok\":true}\n" : "\"ok\":false}\n"));
    EXPECT_THAT(text.out, HasSubstr(text.status == 0 ? "A guest can run here" : "No guest can run here"));
    EXPECT_THAT(json.out, HasSubstr("\"name\":\"/dev/kvm\""));
}

TEST_F(Command, DoctorSaysWhatToPermitToAUserWhoMayNotUseKvm) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root, to become a user without permissions";
    }
    if (!std::filesystem::exists("/dev/kvm")) {
        GTEST_SKIP() << "needs /dev/kvm";
    }
    if ((std::filesystem::status("/dev/kvm").permissions() & std::filesystem::perms::others_write) !=
        std::filesystem::perms::none) {
        GTEST_SKIP() << "everyone may use /dev/kvm here";
    }
    std::filesystem::copy(UNDERSTUDY_BINARY_DIR "/understudy", directory_ / "understudy");
    std::filesystem::permissions(directory_, std::filesystem::perms(0755));
    const Outcome outcome = [&] {
        const std::string line = fmt::format(
            "cd {0} && setpriv --reuid 65534 --regid 65534 --clear-groups ./understudy "
            "doctor >out 2>err",
            directory_.string());
        const int status = std::system(line.c_str());
        return Outcome{WEXITSTATUS(status), contents(directory_ / "out"), contents(directory_ / "err")};
    }();
    EXPECT_EQ(outcome.status, 1) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("missing   /dev/kvm                no permission"));
    EXPECT_THAT(outcome.out, HasSubstr("-> as root: setfacl"));
}

}  // namespace
}  // namespace understudy
