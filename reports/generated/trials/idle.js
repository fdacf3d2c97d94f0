/*
Made by: report render
From runs: scenario-21005-1542336-4026531836
Recorded by: idle: scenario measure exit-now --set lifetime=2s --detector all --trials 5 --deadline 5s --seed 2 --quiet --out DIR
*/
allgoneTrials("idle", {
"outcomes": ["right"],
"rows": [
{"expected":"says \"empty\" when it is over, not before","trials":[[20,0,0,285294],[33,1,0,342970],[76,2,0,248879],[105,3,0,329624],[117,4,0,321167]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[25,0,0,376152],[34,1,0,317791],[66,2,0,321407],[111,3,0,374906],[121,4,0,332093]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[26,0,0,338322],[30,1,0,307722],[82,2,0,383128],[110,3,0,355818],[118,4,0,271568]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[7,0,0,372352],[38,1,0,444835],[71,2,0,382838],[104,3,0,380385],[132,4,0,434339]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[11,0,0,373189],[39,1,0,401345],[68,2,0,562610],[103,3,0,353630],[130,4,0,411160]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[8,0,0,404870],[53,1,0,395858],[65,2,0,429667],[98,3,0,427679],[116,4,0,350425]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[5,0,0,407835],[43,1,0,411105],[73,2,0,447189],[95,3,0,318127],[136,4,0,356996]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[0,0,0,389238],[45,1,0,430198],[69,2,0,375291],[112,3,0,439347],[135,4,0,420039]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[27,0,0,421711],[40,1,0,438996],[72,2,0,369508],[106,3,0,412572],[139,4,0,427805]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[13,0,0,525594],[46,1,0,402993],[63,2,0,473197],[88,3,0,353686],[131,4,0,428050]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[4,0,0,495736],[51,1,0,461825],[80,2,0,431771],[99,3,0,375402],[124,4,0,428526]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[23,0,0,354406],[37,1,0,455786],[78,2,0,372237],[97,3,0,467438],[137,4,0,441621]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[28,0,0,456497],[42,1,0,442742],[74,2,0,457395],[90,3,0,350916],[119,4,0,391932]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[18,0,0,433659],[32,1,0,425326],[62,2,0,586100],[93,3,0,464504],[129,4,0,450228]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[3,0,0,455596],[56,1,0,498941],[79,2,0,342989],[113,3,0,331071],[144,4,0,468966]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[21,0,0,484419],[57,1,0,460743],[58,2,0,462356],[108,3,0,452382],[134,4,0,493172]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[15,0,0,526912],[44,1,0,516987],[61,2,0,448515],[107,3,0,462406],[120,4,0,391196]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[16,0,0,525615],[31,1,0,583151],[75,2,0,367596],[96,3,0,485725],[127,4,0,474785]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[24,0,0,498480],[48,1,0,477243],[70,2,0,506752],[101,3,0,476256],[122,4,0,496447]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[2,0,0,512801],[36,1,0,392021],[64,2,0,496752],[100,3,0,401011],[143,4,0,592970]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[1,0,0,583656],[50,1,0,681491],[86,2,0,717745],[109,3,0,644055],[123,4,0,798264]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[22,0,0,494454],[41,1,0,755991],[84,2,0,711696],[114,3,0,983123],[142,4,0,822009]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[10,0,0,1035677],[47,1,0,1388940],[85,2,0,527843],[94,3,0,1055897],[128,4,0,602479]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[12,0,0,1863679],[29,1,0,1522429],[59,2,0,1988401],[102,3,0,1448735],[133,4,0,1680614]]},
{"expected":"may be too early: a pass over /proc is no snapshot: a chain of forks can run against its order, or past the end of the pid space","trials":[[9,0,0,1504828],[55,1,0,2316674],[60,2,0,2303523],[87,3,0,1571557],[140,4,0,1846850]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[14,0,0,2211201],[54,1,0,2198323],[67,2,0,1936258],[115,3,0,1696904],[125,4,0,1993488]]},
{"expected":"may be too early: a pass over /proc is no snapshot: a chain of forks can run against its order, or past the end of the pid space","trials":[[19,0,0,2695278],[35,1,0,3201500],[77,2,0,3426399],[91,3,0,2748053],[126,4,0,2837736]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[17,0,0,14257643],[52,1,0,24957325],[81,2,0,12700121],[89,3,0,38328231],[138,4,0,45700126]]},
{"expected":"says \"empty\" when it is over, not before","trials":[[6,0,0,34127993],[49,1,0,30025045],[83,2,0,37976775],[92,3,0,33796997],[141,4,0,30101879]]}
]});
