// The command as its users meet it: what it answers to what it cannot do, and what its exit status says.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tools/process/free_ports.hpp"
#include "tools/process/run.hpp"

namespace understudy {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
using tools::Finished;
using tools::run_to_end;

const std::string kUnderstudy = UNDERSTUDY_BINARY_DIR "/understudy";

class Command : public testing::Test {
  protected:
    // Runs `understudy <arguments>`, a line for the shell, in a directory of its own.
    Finished run(const std::string& arguments) { return shell(kUnderstudy + " " + arguments); }
    Finished shell(const std::string& line) {
        return run_to_end({.command = {"sh", "-c", line}, .directory = directory_.path()});
    }

    TemporaryDirectory directory_{"understudy-command"};
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

// Whoever starts the command may have SIGCHLD ignored: nobody would know how the processes ended that it waits for.
TEST_F(Command, KnowsHowItsProcessesEnded) {
    const Finished ignored = shell("env --ignore-signal=CHLD " + kUnderstudy +
                                   " gateway --listen unix:gw.sock > /dev/null & trap \"kill $!\" EXIT; until [ -S "
                                   "gw.sock ]; do sleep 0.05; done; "
                                   "echo $((0x$(sed -n 's/^SigIgn:\t//p' /proc/$!/status) & 0x10000))");
    EXPECT_EQ(ignored.output, "0\n") << ignored.errors;
}

// A terminal or an ssh session that ends takes along what it started, unless that was not to be (nohup).
TEST_F(Command, EndsWithItsTerminal) {
    const std::string start =
        kUnderstudy + " gateway --listen unix:gw.sock > /dev/null 2>&1 & until [ -S gw.sock ]; do sleep 0.05; done; ";
    EXPECT_EQ(shell(start + "kill -HUP $!; wait $!").exit_status, 0);
    EXPECT_EQ(shell("nohup " + start + "kill -HUP $!; sleep 0.2; kill -KILL $!; wait $!").exit_status, 128 + 9);
}

// No round, or no replay of one, and every replay would be equal.
TEST_F(Command, TorturesAtLeastOnce) {
    for (const char* option : {"--rounds", "--replays", "--duration"}) {
        const Finished none = run(std::string("torture ") + option + " 0");
        EXPECT_EQ(none.exit_status, 2) << option << none.output;
        EXPECT_THAT(none.errors, HasSubstr(option + std::string(": Value 0 not in range"))) << option;
    }
}

TEST_F(Command, HelpNamesEverySubcommandAndEachHasAnExample) {
    const Finished help = run("--help");
    ASSERT_EQ(help.exit_status, 0);
    const auto names = subcommands(help.output);
    EXPECT_THAT(names, testing::IsSupersetOf({"doctor", "gateway", "run", "replay"}));
    for (const std::string& name : names) {
        const Finished one = run(name + " --help");
        EXPECT_EQ(one.exit_status, 0) << name;
        EXPECT_THAT(one.output, HasSubstr("Example")) << name;
        EXPECT_THAT(one.output, HasSubstr("\n  understudy " + name)) << name;
    }
}

TEST_F(Command, VersionIsOneLine) {
    const Finished version = run("--version");
    EXPECT_EQ(version.exit_status, 0);
    EXPECT_THAT(version.output, testing::MatchesRegex("understudy [0-9]+\\.[0-9]+\\.[0-9]+ "
                                                      "\\((guests' kernel: Linux 6\\.1\\.[0-9]+.*|no kernel.*)\\)\n"));
}

TEST_F(Command, OutputThatCannotBeWrittenIsNoSuccess) {
    const Finished full = run("--help >/dev/full");
    EXPECT_EQ(full.exit_status, 1);
    EXPECT_EQ(full.errors, "understudy: cannot write to standard output\n");
}

// A log's disk, or whoever read a pipe: a supervisor still learns how it ended.
TEST_F(Command, ErrorsThatNobodyReadsDoNotChangeTheExitStatus) {
    EXPECT_EQ(run("--nosuch 2>/dev/full").exit_status, 2);
    EXPECT_EQ(run("log /nonexistent 2>/dev/full").exit_status, 1);
    EXPECT_EQ(run("log /nonexistent 2>&-").exit_status, 1);
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
    std::ofstream(directory_.path() / "two-vcpus.xml")
        << "<domain type='kvm'>\n<name>kv</name>\n<memory>65536</memory>\n<vcpu>2</vcpu>\n"
           "<os><type arch='x86_64'>hvm</type></os>\n</domain>\n";
    std::ofstream(directory_.path() / "text") << "no executable\n";
    write_huge_program(directory_.path() / "huge");
    const Finished outcome = run(GetParam().arguments);
    EXPECT_EQ(outcome.exit_status, GetParam().status) << outcome.errors;
    EXPECT_THAT(outcome.errors, StartsWith("understudy: "));
    EXPECT_THAT(outcome.errors, HasSubstr(GetParam().answer));
    EXPECT_EQ(std::ranges::count(outcome.errors, '\n'), 1) << outcome.errors;
    EXPECT_THAT(outcome.errors, EndsWith("\n"));
    EXPECT_EQ(outcome.output, "");
}

constexpr int kFailure = 1;
constexpr int kUsage = 2;

INSTANTIATE_TEST_SUITE_P(
    All, Mistakes,
    testing::Values(
        Mistake{"", kUsage, "see understudy --help"},
        Mistake{"frobnicate", kUsage, "there is no 'frobnicate' (see understudy --help)"},
        Mistake{"doctor --frobnicate", kUsage, "see understudy doctor --help"}, Mistake{"doctor -- x", kUsage, "-- x"},
        Mistake{"run", kFailure, "what is to run? Give --image FILE"},
        Mistake{"run --program nowhere", kFailure, "nowhere"}, Mistake{"run --program text", kFailure, "text"},
        Mistake{"run --program /bin/sh", kFailure, "/bin/sh"},
        Mistake{"run --program text --memory 12Q", kFailure, "'12Q' is no size"},
        Mistake{"run --program huge", kFailure, "huge needs more memory than a guest can have"},
        Mistake{"run --program text --name 'a b'", kFailure, "is no name for a VM"},
        Mistake{"run --domain nowhere.xml", kFailure, "nowhere.xml: No such file"},
        Mistake{"run --domain text", kFailure, "text:1: not well-formed XML"},
        Mistake{"run --domain two-vcpus.xml", kFailure, "two-vcpus.xml:4: <vcpu> cannot be honoured"},
        Mistake{"run --program text --domain two-vcpus.xml", kUsage, "excludes"},
        Mistake{"backup --name kv --arbiter raft://127.0.0.1:1 --primary nowhere", kFailure,
                "'nowhere' is not an address (no port); write host:port"},
        Mistake{"backup --name kv --arbiter raft://127.0.0.1:1 --primary host:99999", kFailure,
                "'host:99999' is not an address (the port"},
        Mistake{"primary --program text --arbiter raft://127.0.0.1:1 --listen :7300", kFailure,
                "':7300' is not an address (no host)"},
        Mistake{"primary --program text --arbiter raft://127.0.0.1:1", kFailure,
                "give --tls PATH, credentials of a host (see 'understudy init'), or --insecure"},
        Mistake{"backup --name kv --arbiter raft://127.0.0.1:1 --primary h:1 --tls nowhere/host-a", kFailure,
                "cannot use nowhere/host-a.pem: No such file"},
        Mistake{"run --program text --network gateway:127.0.0.1:1", kFailure, "credentials of a host"},
        Mistake{"gateway --listen 127.0.0.1:0", kFailure, "credentials of a gateway"},
        Mistake{"gateway --listen 127.0.0.1:0 --insecure --tls x/gateway-g", kFailure,
                "give either --tls or --insecure"},
        Mistake{"gateway --listen 0.0.0.0:0 --insecure", kFailure, "0.0.0.0:0 is not: give --tls"},
        Mistake{"arbiter serve --id 1 --data a1 --peer 1=127.0.0.1:7001", kFailure, "credentials of an arbiter"},
        Mistake{"init --out certificates", kFailure, "say whom certificates are for"},
        Mistake{"init --out certificates --host alpha", kFailure, "write alpha=VM,VM or alpha=* for all"},
        Mistake{"init --out certificates --host alpha=shop,", kFailure, "does not say for which VMs"},
        Mistake{"init --out certificates --client ../c", kFailure, "'../c' is no name for a client"},
        Mistake{"verify --server localhost", kFailure, "'localhost' is not an address (no port)"},
        Mistake{"replay nowhere.log", kFailure, "nowhere.log"}, Mistake{"replay text", kFailure, "text"}));

TEST_F(Command, InitMakesCertificatesThatAreTakenForTheirRoleAlone) {
    const Finished made = run("init --json --out c --arbiter 1 --host alpha=shop --gateway edge='*' --client c");
    EXPECT_EQ(made.exit_status, 0) << made.errors;
    EXPECT_THAT(made.output, HasSubstr(R"("file":"c/gateway-edge.key")"));
    const auto mistake = [&](const std::string& words) {
        const Finished outcome = run(words);
        EXPECT_EQ(outcome.exit_status, 1);
        return outcome.errors;
    };
    EXPECT_THAT(mistake("gateway --listen 127.0.0.1:0 --tls c/host-alpha"),
                HasSubstr("c/host-alpha is for a host, and a gateway's are wanted here"));
    EXPECT_THAT(mistake("backup --name mail --arbiter raft://127.0.0.1:1 --primary 127.0.0.1:1 --tls c/host-alpha"),
                HasSubstr("not for the VM 'mail'"));
    EXPECT_THAT(mistake("arbiter serve --id 2 --data a --peer 2=127.0.0.1:1 --tls c/arbiter-1"),
                HasSubstr("these are the credentials of arbiter-1, and this is server 2"));
    EXPECT_THAT(mistake("init --out c --host alpha=mail"),
                HasSubstr("host-alpha.pem is there and says something else"));
}

TEST_F(Command, VerifyNamesAServerThatIsNotThere) {
    const Finished verify = run("verify --seconds 1 --server 127.0.0.1:" + std::to_string(tools::free_port()));
    EXPECT_THAT(verify.errors, HasSubstr("did not answer on all 50 connections"));
    EXPECT_EQ(verify.exit_status, 1);
}

// Minutes of measuring are not lost with a file.
TEST_F(Command, BenchPrintsWhatItMeasuredAlthoughThePageCannotBeWritten) {
    const Finished bench = run("bench channel --repeats 1 --mebibytes 1 --round-trips 10 --html /dev/full");
    EXPECT_EQ(bench.exit_status, 1);
    EXPECT_THAT(bench.output, HasSubstr("a record and its acknowledgement"));
    EXPECT_THAT(bench.errors, HasSubstr("/dev/full: No space left on device\n"));
    const Finished nobody = run("bench channel --repeats 1 --mebibytes 1 --round-trips 10 --html p.html >/dev/full");
    EXPECT_EQ(nobody.exit_status, 1);
    EXPECT_THAT(shell("cat p.html").output, HasSubstr("a record and its acknowledgement"));
}

TEST_F(Command, DemoSaysItsVerdictAlthoughNoReportCanBeWritten) {
    if (shell("command -v redis-benchmark").exit_status != 0) {
        GTEST_SKIP() << "needs redis-benchmark";
    }
    // A guest that needs more memory than there is: no round is played, but there is a verdict.
    const Finished demo = run("demo --guest kv --memory 512G --json /dev/full --timeline /dev/full");
    EXPECT_EQ(demo.exit_status, 1);
    EXPECT_THAT(demo.output, HasSubstr("verdict: FAILED"));
    EXPECT_THAT(demo.errors, HasSubstr("cannot write the report /dev/full: No space left on device"));
    EXPECT_THAT(demo.errors, HasSubstr("cannot write the timeline /dev/full"));
}

TEST_F(Command, DemoNeedsItsClientsBeforeItBuildsAnything) {
    const Finished demo = shell("mkdir empty && PATH=$PWD/empty && " + kUnderstudy + " demo --guest kv");
    EXPECT_EQ(demo.exit_status, 1);
    EXPECT_EQ(demo.output, "");
    EXPECT_EQ(demo.errors, "understudy: --guest kv: needs redis-benchmark: apt-get install redis-tools\n");
}

TEST_F(Command, DemoNeedsRootForItsNetworkBeforeItBuildsAnything) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root, to become a user without permissions";
    }
    std::filesystem::copy(UNDERSTUDY_BINARY_DIR "/understudy", directory_.path() / "understudy");
    std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
    const Finished demo =
        shell("setpriv --reuid 65534 --regid 65534 --clear-groups ./understudy demo --fault host --guest kv");
    EXPECT_EQ(demo.exit_status, 1);
    EXPECT_EQ(demo.output, "");
    EXPECT_THAT(demo.errors, StartsWith("understudy: --fault host: needs root"));
}

TEST_F(Command, AReportOfBeforeStaysUntilThereIsAnother) {
    std::ofstream(directory_.path() / "report") << "of before\n";
    EXPECT_EQ(run("demo --memory 12Q --json report").exit_status, 1);
    EXPECT_EQ(shell("cat report").output, "of before\n");
    EXPECT_EQ(run("bench arbiter --no-etcd --data /dev/null/data --html report").exit_status, 1);
    EXPECT_EQ(shell("cat report").output, "of before\n");
}

TEST_F(Command, DoctorSaysTheSameForPeopleAndMachines) {
    const Finished text = run("doctor");
    const Finished json = run("doctor --json");
    EXPECT_EQ(text.exit_status, json.exit_status);
    EXPECT_THAT(json.output, HasSubstr(text.exit_status == 0 ? "\"ok\":true}\n" : "\"ok\":false}\n"));
    EXPECT_THAT(text.output, HasSubstr(text.exit_status == 0 ? "A guest can run here" : "No guest can run here"));
    EXPECT_THAT(json.output, HasSubstr("\"name\":\"/dev/kvm\""));
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
    std::filesystem::copy(UNDERSTUDY_BINARY_DIR "/understudy", directory_.path() / "understudy");
    std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
    const Finished outcome = shell("setpriv --reuid 65534 --regid 65534 --clear-groups ./understudy doctor");
    EXPECT_EQ(outcome.exit_status, 1) << outcome.errors;
    EXPECT_THAT(outcome.output, HasSubstr("missing   /dev/kvm                no permission"));
    EXPECT_THAT(outcome.output, HasSubstr("-> as root: setfacl"));
}

}  // namespace
}  // namespace understudy
