// What owns a descriptor or a mapping gives it back once, whoever ends up with it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <utility>

#include "common/file_descriptor.hpp"
#include "common/mapping.hpp"

namespace understudy {
namespace {

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) != -1;
}

TEST(FileDescriptor, ClosesWhatItHoldsWhenItEnds) {
    int number = -1;
    {
        const FileDescriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        ASSERT_TRUE(file);
        number = file.get();
        EXPECT_TRUE(is_open(number));
    }
    EXPECT_FALSE(is_open(number));
}

TEST(FileDescriptor, MovesAndReleasesWithoutClosing) {
    FileDescriptor first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const int number = first.get();
    FileDescriptor second(std::move(first));
    first = FileDescriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    EXPECT_EQ(second.get(), number);
    EXPECT_EQ(second.release(), number);
    EXPECT_FALSE(second);
    EXPECT_TRUE(is_open(number));
    ::close(number);
}

TEST(FileDescriptor, AFailedCallGivesNone) {
    EXPECT_FALSE(FileDescriptor(::open("/nowhere/at/all", O_RDONLY)));
}

TEST(Mapping, IsZeroWritableAndMovable) {
    constexpr std::size_t kSize = 1U << 20;
    Mapping mapping = Mapping::anonymous(kSize);
    ASSERT_TRUE(mapping);
    EXPECT_EQ(mapping.size(), kSize);
    EXPECT_EQ(mapping.bytes().back(), std::byte{0});
    mapping.bytes().back() = std::byte{5};
    const Mapping other(std::move(mapping));
    EXPECT_EQ(other.bytes().back(), std::byte{5});
}

TEST(Mapping, OfNothingIsInvalid) {
    EXPECT_FALSE(Mapping());
    EXPECT_FALSE(Mapping::shared(-1, 4096));
}

}  // namespace
}  // namespace understudy
