// understudy-cc and understudy-c++ as a build system or a person uses them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tools/process/run.hpp"

namespace understudy::toolchain {
namespace {

using testing::HasSubstr;
using tools::Finished;
using tools::run_to_end;

const std::string kCc = UNDERSTUDY_BINARY_DIR "/understudy-cc";
const std::string kCxx = UNDERSTUDY_BINARY_DIR "/understudy-c++";

class Wrapper : public testing::Test {
  protected:
    std::string file(const std::string& name, const std::string& text = "") {
        std::string path = folder_.path() / name;
        if (!text.empty()) {
            std::ofstream(path) << text;
        }
        return path;
    }

    TemporaryDirectory folder_{"understudy-wrapper"};
};

TEST_F(Wrapper, ExplainsItself) {
    for (const std::string& wrapper : {kCc, kCxx}) {
        const Finished help = run_to_end({wrapper, "--help"});
        EXPECT_EQ(help.exit_status, 0);
        EXPECT_THAT(help.output, HasSubstr("Examples:\n  understudy-c"));
    }
    const Finished nothing = run_to_end({kCc});
    EXPECT_EQ(nothing.exit_status, 1);
    EXPECT_EQ(nothing.errors, "understudy-cc: no input files; try 'understudy-cc --help'\n");
}

TEST_F(Wrapper, RefusesWhatWouldNotRunCounted) {
    for (const std::string option : {"-flto", "-flto=thin", "-shared", "-m32", "-mred-zone", "-fno-integrated-as"}) {
        const Finished refused = run_to_end({kCc, option, "-c", file("a.c", "int a;")});
        EXPECT_EQ(refused.exit_status, 1);
        EXPECT_THAT(refused.errors, testing::StartsWith("understudy-cc: " + option + ": "));
    }
}

TEST_F(Wrapper, BuildsAStaticProgramOfSeveralLanguages) {
    const std::string main = file("main.c",
                                  "int from_assembly(void); int other(int);\n"
                                  "int main(int c, char** v) { (void)v; return other(c) + from_assembly(); }");
    const std::string other = file("other two.c", "int other(int x) { int s = 0; while (x) s += x--; return s; }");
    const std::string assembly = file("part.S",
                                      "#define VALUE 41\n.globl from_assembly\nfrom_assembly: mov $VALUE, %eax\n"
                                      "ret\n.section .note.GNU-stack\n");
    const std::string program = file("program");
    const Finished built =
        run_to_end({kCc, "--uncounted", "-O2", "-Wall", "-Werror", main, other, assembly, "-o", program});
    EXPECT_EQ(built.output + built.errors, "");
    ASSERT_EQ(built.exit_status, 0);
    EXPECT_EQ(run_to_end({program}).exit_status, 42);
    EXPECT_THAT(run_to_end({"readelf", "-hl", program}).output,
                testing::AllOf(HasSubstr("EXEC (Executable file)"), testing::Not(HasSubstr("INTERP"))));
}

TEST_F(Wrapper, CountsAtEveryLevelOfOptimization) {
    const std::string source =
        file("loop.cpp", "long loop(const long* p) { long s = 0; while (*p != 0) s += *p++; return s; }");
    for (const std::string level : {"-O0", "-O1", "-O2", "-O3", "-Os", "-Oz"}) {
        const std::string out = file("loop.s");
        EXPECT_EQ(run_to_end({kCxx, level, "-Werror", "-S", source, "-o", out}).errors, "");
        std::ifstream read(out);
        const std::string text(std::istreambuf_iterator<char>(read), {});
        EXPECT_THAT(text, testing::ContainsRegex("subq\t.*, 262144\n")) << level;
        EXPECT_THAT(text, HasSubstr("callq\t*262160\n")) << level;
    }
}

// For Linux guests: no relocation of the counting's stands in the way of a library.
TEST_F(Wrapper, LinksDynamicallyWhereItIsTold) {
    const std::string library = file("libsum.so");
    Finished built =
        run_to_end({kCc, "--dynamic", "-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-Wl,-z,text", "-o", library,
                    file("sum.c", "int sum(int x) { int s = 0; while (x) s += x--; return s; }")});
    EXPECT_EQ(built.output + built.errors, "");
    ASSERT_EQ(built.exit_status, 0);
    const std::string program = file("program");
    built = run_to_end({kCc, "--dynamic", "-O2", "-pie", "-fPIE", "-Wall", "-Werror",
                        file("main.c", "int sum(int); int main(int c, char** v) { (void)v; return sum(c); }"), library,
                        "-o", program});
    EXPECT_EQ(built.output + built.errors, "");
    ASSERT_EQ(built.exit_status, 0);
    EXPECT_THAT(run_to_end({"readelf", "-hl", program}).output,
                testing::AllOf(HasSubstr("DYN ("), HasSubstr("INTERP")));
}

TEST_F(Wrapper, StopsWhereItIsTold) {
    const std::string source = file("a.c", "#define ANSWER 42\nint answer(void) { return ANSWER; }\n");
    EXPECT_THAT(run_to_end({kCc, "-Werror", "-E", source}).output, HasSubstr("return 42;"));
    EXPECT_EQ(run_to_end({kCc, "-Werror", "-fsyntax-only", source}).errors, "");
    EXPECT_EQ(run_to_end({kCc, "-Werror", "-c", source, "-MD", "-o", file("a.o")}).errors, "");
    EXPECT_TRUE(std::filesystem::exists(folder_.path() / "a.d"));
    EXPECT_EQ(run_to_end({kCc, "--instead-of", "/usr/bin/gcc", "-c", source, "-o", file("b.o")}).exit_status, 0);
    EXPECT_TRUE(std::filesystem::exists(folder_.path() / "b.o"));
    EXPECT_NE(run_to_end({kCc, "-c", file("broken.c", "int broken("), "-o", file("c.o")}).exit_status, 0);
}

}  // namespace
}  // namespace understudy::toolchain
