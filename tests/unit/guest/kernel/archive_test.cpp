#include "guest/kernel/archive.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace understudy::kernel {
namespace {

// One member: a header as POSIX describes it, and its content in whole blocks.
std::string member(const std::string& name, char type, const std::string& content, const std::string& link = {},
                   const std::string& prefix = {}) {
    std::string header(512, '\0');
    const auto put = [&](std::size_t at, const std::string& text) { header.replace(at, text.size(), text); };
    const auto octal = [](std::size_t value, int digits) {
        char text[32];
        (void)std::snprintf(text, sizeof text, "%0*zo", digits, value);
        return std::string(text);
    };
    put(0, name.substr(0, 100));
    put(100, "0000640");
    put(108, octal(1000, 7));
    put(116, octal(100, 7));
    put(124, octal(content.size(), 11));
    put(136, octal(1700000000, 11));
    header[156] = type;
    put(157, link);
    put(257, std::string("ustar\0"
                         "00",
                         8));
    put(345, prefix);
    put(148, "        ");
    std::size_t sum = 0;
    for (const char c : header) {
        sum += static_cast<unsigned char>(c);
    }
    put(148, octal(sum, 6) + std::string("\0 ", 2));
    std::string padded = content;
    padded.resize((content.size() + 511) / 512 * 512);
    return header + padded;
}

class ArchiveTest : public ::testing::Test {
  public:
    ~ArchiveTest() override {
        for (void* node : nodes) {
            ::operator delete(node);
        }
        nodes.clear();
    }

  protected:
    void open(const std::string& bytes) {
        bytes_ = bytes;
        archive_.open({reinterpret_cast<const std::uint8_t*>(bytes_.data()), bytes_.size()}, [](std::size_t size) {
            void* node = ::operator new(size);
            nodes.push_back(node);
            return node;
        });
    }
    std::string read(std::string_view path) {
        const auto answer = archive_.find(archive_.root(), path, true);
        return answer.node == nullptr ? "(none)"
                                      : std::string(answer.node->content.begin(), answer.node->content.end());
    }
    Archive::Lookup outcome(std::string_view path) { return archive_.find(archive_.root(), path, true).outcome; }

    static inline std::vector<void*> nodes;
    std::string bytes_;
    Archive archive_;
};

const std::string kEnd(1024, '\0');

TEST_F(ArchiveTest, FindsFilesByPath) {
    open(member("./etc/", '5', "") + member("./etc/motd", '0', "hello\n") + member("top", '0', std::string(1000, 'x')) +
         kEnd);
    EXPECT_EQ(read("/etc/motd"), "hello\n");
    EXPECT_EQ(read("etc/../etc/./motd"), "hello\n");
    EXPECT_EQ(read("//etc///motd"), "hello\n");
    EXPECT_EQ(read("/../top"), std::string(1000, 'x'));
    EXPECT_EQ(outcome("/etc/none"), Archive::Lookup::missing);
    EXPECT_EQ(outcome("/top/none"), Archive::Lookup::not_directory);
    EXPECT_EQ(outcome("/top/"), Archive::Lookup::not_directory);
    EXPECT_EQ(outcome("/" + std::string(256, 'n')), Archive::Lookup::name_too_long);
    EXPECT_EQ(outcome(""), Archive::Lookup::missing);
    const auto* node = archive_.find(archive_.root(), "/etc/motd", true).node;
    EXPECT_EQ(node->mode, 0640U);
    EXPECT_EQ(node->modified, 1700000000);
}

TEST_F(ArchiveTest, MakesDirectoriesThatHaveNoMember) {
    open(member("a/b/c/file", '0', "deep") + kEnd);
    EXPECT_EQ(read("/a/b/c/file"), "deep");
    EXPECT_EQ(archive_.find(archive_.root(), "/a/b", true).node->type, Archive::Type::directory);
}

TEST_F(ArchiveTest, FollowsLinks) {
    open(member("dir/file", '0', "content") + member("relative", '2', "", "dir/file") +
         member("dir/up", '2', "", "../relative") + member("absolute", '2', "", "/dir") +
         member("loop", '2', "", "loop") + member("hard", '1', "", "dir/file") +
         member("dangling", '2', "", "nowhere") + kEnd);
    EXPECT_EQ(read("/relative"), "content");
    EXPECT_EQ(read("/dir/up"), "content");
    EXPECT_EQ(read("/absolute/file"), "content");
    EXPECT_EQ(read("/absolute/up"), "content");
    EXPECT_EQ(read("/hard"), "content");
    EXPECT_EQ(outcome("/loop"), Archive::Lookup::loop);
    EXPECT_EQ(outcome("/dangling"), Archive::Lookup::missing);
    EXPECT_EQ(archive_.find(archive_.root(), "/relative", false).node->type, Archive::Type::link);
    EXPECT_EQ(archive_.find(archive_.root(), "/absolute/file", false).node->type, Archive::Type::file);
}

// Each link names the next one twice: the bound is on all that a search follows, not on how deep they lie.
TEST_F(ArchiveTest, BoundsTheLinksOfASearch) {
    std::string members = member("link39/", '5', "");
    for (int i = 38; i >= 0; --i) {
        const std::string next = "link" + std::to_string(i + 1);
        members += member("link" + std::to_string(i), '2', "", std::string(next).append("/../").append(next));
    }
    open(members + kEnd);
    EXPECT_EQ(outcome("/link35"), Archive::Lookup::found);
    EXPECT_EQ(outcome("/link0"), Archive::Lookup::loop);
}

TEST_F(ArchiveTest, KnowsOwners) {
    open(member("file", '0', "") + kEnd);
    const auto answer = archive_.find(archive_.root(), "/file", true);
    ASSERT_NE(answer.node, nullptr);
    EXPECT_EQ(answer.node->user, 1000U);
    EXPECT_EQ(answer.node->group, 100U);
}

TEST_F(ArchiveTest, KnowsLongNames) {
    const std::string name(150, 'n');
    const std::string pax = "162 path=" + std::string(152, 'p') + "\n";
    ASSERT_EQ(pax.size(), 162U);
    open(member("././@LongLink", 'L', name + '\0') + member(name, '0', "gnu") + member("pax", 'x', pax) +
         member("short", '0', "pax") + member("file", '0', "ustar", "", "some/prefix") + kEnd);
    EXPECT_EQ(read("/" + name), "gnu");
    EXPECT_EQ(read("/" + std::string(152, 'p')), "pax");
    EXPECT_EQ(read("/some/prefix/file"), "ustar");
}

TEST_F(ArchiveTest, StaysInsideTheRoot) {
    open(member("../../escape", '0', "x") + member("/absolute", '0', "y") + kEnd);
    EXPECT_EQ(outcome("/escape"), Archive::Lookup::missing);
    EXPECT_EQ(read("/absolute"), "y");
}

TEST_F(ArchiveTest, TellsPaths) {
    open(member("a/b/c", '0', "") + kEnd);
    char out[64];
    const auto path = [&](std::string_view of) {
        return std::string(out, Archive::path_of(*archive_.find(archive_.root(), of, true).node, out));
    };
    EXPECT_EQ(path("/a/b/c"), "/a/b/c");
    EXPECT_EQ(path("/"), "/");
    EXPECT_EQ(Archive::path_of(*archive_.find(archive_.root(), "/a/b/c", true).node, std::span(out, 5)), 0U);
}

TEST_F(ArchiveTest, UsesADamagedArchiveUpToTheDamage) {
    std::string bytes = member("first", '0', "1") + member("second", '0', "2") + kEnd;
    bytes[1024 + 3] ^= 1;
    open(bytes);
    EXPECT_EQ(read("/first"), "1");
    EXPECT_EQ(outcome("/second"), Archive::Lookup::missing);
}

// Whatever the bytes are, reading them ends and stays within them (the sanitizers look).
TEST_F(ArchiveTest, SurvivesArbitraryDamage) {
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    const std::string good = member("dir/file", '0', "content") + member("link", '2', "", "dir/file") +
                             member("p", 'x', "20 path=a/long/name\n") + member("x", '0', "y") +
                             member("././@LongLink", 'L', std::string("dir/file") + '\0') + member("z", '1', "", "x") +
                             kEnd;
    for (int round = 0; round < 2000; ++round) {
        std::string bytes = good;
        for (unsigned flips = random() % 8 + 1; flips > 0; --flips) {
            bytes[random() % bytes.size()] = static_cast<char>(random());
        }
        // With correct checksums the damage gets past the first check.
        for (std::size_t at = 0; at + 512 <= bytes.size(); at += 512) {
            std::size_t sum = std::size_t{8} * ' ';
            for (std::size_t i = 0; i < 512; ++i) {
                sum += i >= 148 && i < 156 ? 0U : static_cast<unsigned char>(bytes[at + i]);
            }
            (void)std::snprintf(&bytes[at + 148], 8, "%06zo", sum);
        }
        bytes.resize(random() % 4 == 0 ? random() % bytes.size() : bytes.size());
        archive_ = Archive();
        open(bytes);
        for (const char* path : {"/dir/file", "/link", "/a/long/name", "/x", "/z"}) {
            (void)read(path);
        }
    }
}

}  // namespace
}  // namespace understudy::kernel
