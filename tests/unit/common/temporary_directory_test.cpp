#include "common/temporary_directory.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace understudy {
namespace {

TEST(TemporaryDirectory, GoesWithAllThatIsInIt) {
    std::filesystem::path path;
    {
        const TemporaryDirectory directory("understudy-test");
        path = directory.path();
        std::filesystem::create_directories(path / "a/b");
        std::ofstream(path / "a/b/c") << "x";
        ASSERT_TRUE(std::filesystem::exists(path / "a/b/c"));
    }
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TemporaryDirectory, StaysWhereItIsKept) {
    std::filesystem::path path;
    {
        TemporaryDirectory directory("understudy-test");
        path = directory.path();
        directory.keep();
    }
    EXPECT_TRUE(std::filesystem::exists(path));
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace understudy
