#include "textflag.h"

// RFC 1321, section 3.4, of eight texts beside each other. Y0 to Y3 are the state,
// Y4 is all ones; SI has the words, 32 octets each, and DX is where the next one
// is; R8 has the constants.

// STEP is a = b + ((a + f + word + constant) <<< s), where Y5 has f. The next word
// is skip words further.
#define STEP(a, b, s, skip) \
	VPBROADCASTD (R8), Y6 \
	ADDQ $4, R8 \
	VPADDD (SI)(DX*1), Y6, Y6 \
	ADDQ $(32*skip), DX \
	ANDQ $511, DX \
	VPADDD Y6, a, a \
	VPADDD Y5, a, a \
	VPSLLD $s, a, Y6 \
	VPSRLD $(32-s), a, a \
	VPOR Y6, a, a \
	VPADDD b, a, a

#define STEP1(a, b, c, d, s) \
	VPXOR c, d, Y5 \
	VPAND b, Y5, Y5 \
	VPXOR d, Y5, Y5 \
	STEP(a, b, s, 1)

#define STEP2(a, b, c, d, s) \
	VPXOR b, c, Y5 \
	VPAND d, Y5, Y5 \
	VPXOR c, Y5, Y5 \
	STEP(a, b, s, 5)

#define STEP3(a, b, c, d, s) \
	VPXOR c, d, Y5 \
	VPXOR b, Y5, Y5 \
	STEP(a, b, s, 3)

#define STEP4(a, b, c, d, s) \
	VPXOR Y4, d, Y5 \
	VPOR b, Y5, Y5 \
	VPXOR c, Y5, Y5 \
	STEP(a, b, s, 7)

// ROUND is 16 steps, which begin with the word first.
#define ROUND(label, step, first, s1, s2, s3, s4) \
	MOVQ $(32*first), DX \
	MOVQ $4, CX \
label: \
	step(Y0, Y1, Y2, Y3, s1) \
	step(Y3, Y0, Y1, Y2, s2) \
	step(Y2, Y3, Y0, Y1, s3) \
	step(Y1, Y2, Y3, Y0, s4) \
	DECQ CX \
	JNZ label

// func blocks(states *[4][lanes]uint32, words *[block / 4][lanes]uint32, constants *[64]uint32)
TEXT ·blocks(SB), NOSPLIT, $0-24
	MOVQ states+0(FP), DI
	MOVQ words+8(FP), SI
	MOVQ constants+16(FP), R8
	VMOVDQU 0(DI), Y0
	VMOVDQU 32(DI), Y1
	VMOVDQU 64(DI), Y2
	VMOVDQU 96(DI), Y3
	VPCMPEQD Y4, Y4, Y4
	ROUND(one, STEP1, 0, 7, 12, 17, 22)
	ROUND(two, STEP2, 1, 5, 9, 14, 20)
	ROUND(three, STEP3, 5, 4, 11, 16, 23)
	ROUND(four, STEP4, 0, 6, 10, 15, 21)
	VPADDD 0(DI), Y0, Y0
	VPADDD 32(DI), Y1, Y1
	VPADDD 64(DI), Y2, Y2
	VPADDD 96(DI), Y3, Y3
	VMOVDQU Y0, 0(DI)
	VMOVDQU Y1, 32(DI)
	VMOVDQU Y2, 64(DI)
	VMOVDQU Y3, 96(DI)
	VZEROUPPER
	RET
