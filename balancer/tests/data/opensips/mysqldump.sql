-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
--
-- Host: localhost    Database: opensips
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;

DROP TABLE IF EXISTS `address`;
CREATE TABLE `address` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `ip` char(50) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
INSERT INTO `address` VALUES (1,'192.0.2.1');

--
-- Table structure for table `dispatcher`
--
DROP TABLE IF EXISTS `dispatcher`;
CREATE TABLE `dispatcher` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `setid` int NOT NULL DEFAULT '0',
  `destination` char(192) NOT NULL DEFAULT '',
  `socket` char(128) DEFAULT NULL,
  `state` int NOT NULL DEFAULT '0',
  `probe_mode` int unsigned NOT NULL DEFAULT '0',
  `weight` char(64) NOT NULL DEFAULT '1',
  `priority` int NOT NULL DEFAULT '0',
  `attrs` char(128) DEFAULT NULL,
  `description` char(64) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3;

LOCK TABLES `dispatcher` WRITE;
/*!40000 ALTER TABLE `dispatcher` DISABLE KEYS */;
INSERT INTO `dispatcher` VALUES (1,1,'sip:10.1.0.1',NULL,0,0,'fs://:Clue@10.1.0.1',0,NULL,'first; \'quoted\''),(2,1,'sip:10.1.0.2:5080;transport=udp;lr','udp:192.0.2.9:5060',1,1,'fs://freeswitch:p%w:d;x@10.1.0.2:8022?HEARTBEAT',0,'pool=a','it''s a \\ slash'),
(3,1,'sip:trunk:pw@10.1.0.3',NULL,2,0,'40',0,NULL,NULL),(4,1,'sip:10.1.0.4',NULL,0,0,'0',0,NULL,'last resort'),(5,1,'sip:10.1.0.1',NULL,0,0,'7',3,NULL,NULL);
INSERT INTO `dispatcher` VALUES (6,2,'sips:10.2.0.1',NULL,0,0,'1',0,NULL,NULL),(7,2,'sip:10.2.0.2;transport=tls',NULL,0,0,'1',0,NULL,NULL),(8,2,'sip:[2001:db8::7]:5070',NULL,0,0,'70000',-5,NULL,NULL),(9,2,'sip:fs.example.com',NULL,0,0,'35000',7,NULL,NULL),(10,2,'sip:10.2.0.5',NULL,0,0,'many',0,NULL,NULL),(11,-1,'sip:10.2.0.6',NULL,0,0,'1',0,NULL,NULL);
INSERT INTO `dispatcher` VALUES (12,3,'sip:10.3.0.1',NULL,0,0,'fs://nopassword@10.3.0.1',0,NULL,NULL),(13,3,'sip:10.1.0.1:5090',NULL,0,0,'fs://10.1.0.1',0,NULL,'the external profile'),(14,3,'sip:10.4.0.1',NULL,9,0,'1',0,NULL,NULL);
/*!40000 ALTER TABLE `dispatcher` ENABLE KEYS */;
UNLOCK TABLES;

CREATE TABLE `load_balancer` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `group_id` int unsigned NOT NULL DEFAULT '0',
  `dst_uri` char(128) NOT NULL,
  `resources` char(255) NOT NULL,
  `probe_mode` int unsigned NOT NULL DEFAULT '0',
  `attrs` char(255) DEFAULT NULL,
  `description` char(128) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `dsturi_idx` (`dst_uri`)
) ENGINE=InnoDB;
INSERT INTO `load_balancer` (`id`, `group_id`, `dst_uri`, `resources`, `probe_mode`) VALUES (1,1,'sip:10.4.0.1','pstn=30; transc/s=8',2);
INSERT INTO `load_balancer` (`dst_uri`, `resources`, `group_id`, `id`) VALUES ('sip:10.4.0.2','pstn=60;transc/s=8;2way=4',1,2);
INSERT INTO `load_balancer` VALUES (3,1,'sip:10.4.0.1','pstn=5',0,NULL,'again'),(4,2,'sip:10.1.0.1','ch=fs://10.1.0.1;conf=5',1,'x','shared with the dispatcher'),(5,2,'sip:10.4.0.1','ch=30;conf=5',1,NULL,NULL),(6,2,'sip:10.4.0.9','conf',1,NULL,NULL),(7,3,'sip:10.5.0.1','pstn=10',0,NULL,NULL),(8,3,'sip:10.5.0.2','',0,NULL,NULL);
